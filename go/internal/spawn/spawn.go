// Package spawn starts a VMM under the process that becomes its keeper.
package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/procid"
)

// Born is a VMM that has just been started, as its keeper is told of it.
type Born struct {
	Pid       int       `json:"pid"`
	StartedAt time.Time `json:"startedAt"`
	// Our ends of its standard files.
	Stdin  int `json:"stdin"`
	Stdout int `json:"stdout"`
	Stderr int `json:"stderr"`
	// What it was lent of the host.
	Taps []jail.Tap `json:"taps"`
}

// Main is smartvm-launch. The main goroutine must be locked to the main thread.
func Main(args []string) {
	err := run(args)
	Announce(err)
	os.Exit(1)
}

// Announce prints why there is no VMM, for the program that asked for one.
func Announce(err error) {
	fault := jail.Fault{Code: "KEEPER_FAILED", Message: err.Error()}
	if known := (*jail.Fault)(nil); errors.As(err, &known) {
		fault.Code = known.Code
	}
	json.NewEncoder(os.Stdout).Encode(map[string]jail.Fault{"error": fault})
}

func run(args []string) error {
	ordered := len(args) == 1
	o, err := optionsOf(args[1:])
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	unix.Umask(0o077) // what the VMM creates is private, whatever our caller's mask
	born, err := start(o)
	if err != nil {
		return err
	}
	if err = Hello(IdentityOf(born.Pid)); err == nil {
		if ordered {
			awaitCall(born.Pid)
		}
		err = becomeKeeper(o, born)
	}
	born.abandon(o)
	return err
}

// optionsOf are those of the command line, or, where that has none, of the owner's order.
func optionsOf(args []string) (Options, error) {
	if len(args) > 0 {
		return Parse(args)
	}
	return awaitOrder()
}

// Identity tells the keeper and the VMM apart from later processes with the same pids.
type Identity struct {
	KeeperPid       int    `json:"keeperPid"`
	KeeperStartTime string `json:"keeperStartTime"`
	VMMPid          int    `json:"vmmPid"`
	VMMStartTime    string `json:"vmmStartTime"`
	BootID          string `json:"bootId"`
}

// IdentityOf is that of a VMM which has not been reaped, and of this process, which is or becomes its keeper.
func IdentityOf(pid int) Identity {
	// All three are files of /proc that exist for as long as both processes do.
	keeperStart, _ := procid.StartTime(os.Getpid())
	vmmStart, _ := procid.StartTime(pid)
	bootID, _ := procid.BootID()
	return Identity{os.Getpid(), keeperStart, pid, vmmStart, bootID}
}

// Hello writes the one line of standard output. It comes before the keeper's socket is there, for who waits for the VMM need
// not wait for that; the end of standard output tells that it is.
func Hello(identity Identity) error {
	return json.NewEncoder(os.Stdout).Encode(identity)
}

// becomeKeeper executes the keeper, which has this process's children, and the pipes to the VMM.
func becomeKeeper(o Options, born *Born) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, fd := range []int{born.Stdin, born.Stdout, born.Stderr} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	text, err := json.Marshal(born)
	if err != nil {
		return err
	}
	path := Beside(self, "keeper")
	argv := append([]string{path, "--born", string(text)}, o.args()...)
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// Beside is the path of another of these programs: it lies beside this one and is named as it is, architecture and all.
func Beside(self, program string) string {
	name := strings.NewReplacer("launch", program, "keeper", program).Replace(filepath.Base(self))
	return filepath.Join(filepath.Dir(self), name)
}

// start starts the VMM in a session of its own, away from the terminal's Ctrl-C.
func start(o Options) (*Born, error) {
	var jailed *confinement
	if o.Jail != "" {
		var err error
		if jailed, err = confine(o.Jail); err != nil {
			return nil, jail.AsFault(err)
		}
	}
	born, err := launch(jailed, o.Argv)
	if err != nil && jailed != nil {
		return nil, jail.AsFault(errors.Join(err, jailed.release()))
	}
	return born, err
}

func launch(jailed *confinement, argv []string) (*Born, error) {
	// A FIFO, for Firecracker's serial input takes no socket.
	stdin, stdinWriter, err := pipe(1)
	if err != nil {
		return nil, err
	}
	stdout, stdoutReader, err := pipe(0)
	if err != nil {
		return nil, err
	}
	stderr, stderrReader, err := stderrOf(jailed)
	if err != nil {
		return nil, err
	}
	born := &Born{StartedAt: time.Now(), Stdin: stdinWriter, Stdout: stdoutReader, Stderr: stderrReader}
	stdio := []uintptr{uintptr(stdin), uintptr(stdout), uintptr(stderr)}
	if jailed == nil {
		born.Pid, err = execute(argv, stdio)
	} else {
		born.Taps = jailed.taps
		born.Pid, err = jailed.start(argv, stdio)
	}
	for _, fd := range []int{stdin, stdout, stderr} {
		unix.Close(fd)
	}
	return born, err
}

func execute(argv []string, stdio []uintptr) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, &jail.Fault{Code: jail.CommandUnspawned, Message: err.Error()}
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: stdio,
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		failure := &os.PathError{Op: "exec", Path: path, Err: err}
		return 0, &jail.Fault{Code: jail.CommandUnspawned, Message: failure.Error()}
	}
	return pid, nil
}

// abandon ends a VMM for which there can be no keeper.
func (b *Born) abandon(o Options) {
	unix.Kill(b.Pid, unix.SIGKILL)
	unix.Wait4(b.Pid, nil, 0, nil)
	if o.Jail == "" {
		return
	}
	if spec, err := jail.Read(o.Jail); err == nil {
		Release(spec, b.Taps)
	}
}

// Release undoes what outlives a jailed VMM. The kernel has undone the rest.
func Release(spec *jail.Spec, taps []jail.Tap) error {
	return errors.Join(jail.RemoveCgroups(spec.Cgroups), jail.ReturnTaps(taps))
}

// pipe answers a blocking end for the VMM, and our end of it, with deadlines: end 0, which reads, or 1, which writes.
func pipe(ours int) (int, int, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(ends[ours], true); err != nil {
		return 0, 0, os.NewSyscallError("fcntl", err)
	}
	return ends[1-ours], ends[ours], nil
}
