package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/procid"
	"smartvm.dev/go/internal/reaper"
	"smartvm.dev/go/internal/ringlog"
)

const (
	// How long descendants of a VMM that is gone have to die of SIGKILL, and its pipes to run dry.
	orphanGrace = 2 * time.Second
	drainGrace  = 500 * time.Millisecond
)

// identity tells the keeper and the VMM apart from later processes with the same pids.
type identity struct {
	KeeperPid       int    `json:"keeperPid"`
	KeeperStartTime string `json:"keeperStartTime"`
	VMMPid          int    `json:"vmmPid"`
	VMMStartTime    string `json:"vmmStartTime"`
	BootID          string `json:"bootId"`
}

type vmm struct {
	identity  identity
	startedAt time.Time
	// None: the VMM has the host's view.
	jail    *confinement
	process *reaper.Process
	stdin   *os.File
	console *ringlog.Log
	log     *ringlog.Log
	// Its standard output and error.
	outputs [2]*os.File
	drained sync.WaitGroup
}

// spawnError is a VMM that could not be executed, rather than a keeper that failed.
type spawnError struct{ err error }

func (e *spawnError) Error() string { return e.err.Error() }

func (e *spawnError) Unwrap() error { return e.err }

// spawn starts the VMM in a session of its own, away from the terminal's Ctrl-C. It must run on the main thread.
func spawn(o options) (*vmm, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	if o.jail == "" {
		return launch(nil, o.argv)
	}
	jailed, err := confine(o.jail)
	if err != nil {
		return nil, jail.AsFault(err)
	}
	v, err := launch(jailed, o.argv)
	if err != nil {
		return nil, jail.AsFault(errors.Join(err, jailed.release()))
	}
	return v, nil
}

func launch(jailed *confinement, argv []string) (*vmm, error) {
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
	v := &vmm{jail: jailed, stdin: stdinWriter, outputs: [2]*os.File{stdoutReader, stderrReader}, startedAt: time.Now()}
	children := reaper.New()
	stdio := []uintptr{uintptr(stdin), uintptr(stdout), uintptr(stderr)}
	if jailed == nil {
		v.process, err = execute(children, argv, stdio)
	} else {
		v.process, err = jailed.start(children, argv, stdio)
	}
	for _, fd := range []int{stdin, stdout, stderr} {
		unix.Close(fd)
	}
	if err != nil {
		return nil, err
	}
	// Before anything is reaped: a VMM that has died at once is still in /proc.
	v.identity = identify(v.process.Pid)
	go children.Run()
	return v, nil
}

func execute(children *reaper.Reaper, argv []string, stdio []uintptr) (*reaper.Process, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, &spawnError{err}
	}
	process, err := children.Start(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: stdio,
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, &spawnError{&os.PathError{Op: "exec", Path: path, Err: err}}
	}
	return process, nil
}

// stderrOf answers as pipe does: a FIFO that has a name, where the jail asks for one.
func stderrOf(jailed *confinement) (int, *os.File, error) {
	if jailed == nil || jailed.spec.StderrFIFO == "" {
		return pipe(0)
	}
	return jailed.makeFIFO()
}

// pipe answers a blocking end for the VMM, and our end of it, with deadlines: end 0, which reads, or 1, which writes.
func pipe(ours int) (int, *os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(ends[ours], true); err != nil {
		return 0, nil, os.NewSyscallError("fcntl", err)
	}
	return ends[1-ours], os.NewFile(uintptr(ends[ours]), "pipe"), nil
}

func identify(pid int) identity {
	// All three are files of /proc that exist for as long as both processes do.
	keeperStart, _ := procid.StartTime(os.Getpid())
	vmmStart, _ := procid.StartTime(pid)
	bootID, _ := procid.BootID()
	return identity{os.Getpid(), keeperStart, pid, vmmStart, bootID}
}

// drainInto keeps what the VMM says.
func (v *vmm) drainInto(console, log *ringlog.Log) {
	v.console, v.log = console, log
	for i, to := range []*ringlog.Log{console, log} {
		v.drained.Go(func() {
			io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{v.outputs[i]}, make([]byte, 64<<10))
		})
	}
}

// abandon ends a VMM for which there can be no keeper.
func (v *vmm) abandon() {
	v.process.Signal(unix.SIGKILL)
	<-v.process.Done()
	killOrphans(time.Now().Add(orphanGrace))
	if v.jail != nil {
		v.jail.release()
	}
}

type exitRecord struct {
	ExitCode  *int    `json:"exitCode"`
	Signal    *string `json:"signal"`
	Reason    string  `json:"reason"`
	StartedAt string  `json:"startedAt"`
	ExitedAt  string  `json:"exitedAt"`
}

// finish clears up behind a VMM that has ended, closes its logs and answers exit.json's content.
func (v *vmm) finish(reason string) []byte {
	exitedAt := time.Now()
	killOrphans(exitedAt.Add(orphanGrace))
	for _, output := range v.outputs {
		output.SetReadDeadline(time.Now().Add(drainGrace))
	}
	v.drained.Wait()
	v.console.Close()
	v.log.Close()
	v.stdin.Close()
	record := exitRecord{Reason: reason, StartedAt: isoTime(v.startedAt), ExitedAt: isoTime(exitedAt)}
	if status := v.process.Status(); status.Signaled() {
		name := unix.SignalName(status.Signal())
		record.Signal = &name
	} else {
		code := status.ExitStatus()
		record.ExitCode = &code
	}
	exit, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return append(exit, '\n')
}

// killOrphans ends what the VMM left behind, which the kernel has made our children: each that dies hands us its own.
func killOrphans(deadline time.Time) {
	for time.Now().Before(deadline) {
		orphans, err := procid.Children(os.Getpid())
		if err != nil || len(orphans) == 0 {
			return
		}
		for _, pid := range orphans {
			// Ours to reap, so the number can't have passed to anyone but another of our children.
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
