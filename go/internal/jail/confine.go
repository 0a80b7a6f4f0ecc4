package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// statusFD is where Confine says how it failed; the kernel closes it when the command is executed.
const statusFD = 3

// Confine is smartvm-confine: `smartvm-confine JAIL.JSON COMMAND ARGS…`, the first process of its namespaces. It makes
// the VMM's view and becomes the command, or says why not and ends. The main goroutine must be locked to the main
// thread.
func Confine(args []string) {
	keepStandardFiles()
	err := confine(args)
	status, _ := json.Marshal(AsFault(err))
	if _, err := unix.Write(statusFD, status); err != nil {
		fmt.Fprintln(os.Stderr, "smartvm-confine:", string(status))
	}
	os.Exit(1)
}

func confine(args []string) error {
	if len(args) < 3 {
		return errors.New("smartvm-confine JAIL.JSON COMMAND ARGS…: it is the keeper that runs this")
	}
	spec, err := Read(args[1])
	if err != nil {
		return err
	}
	if err := joinNetwork(spec.NetworkNamespace); err != nil {
		return err
	}
	unix.Umask(0)
	if err := spec.build(); err != nil {
		return err
	}
	if err := leaveCgroupView(spec.Cgroups); err != nil {
		return err
	}
	if spec.PrivateNetwork {
		if err := raiseLoopback(); err != nil {
			return err
		}
	}
	if err := leaveKeyring(); err != nil {
		return err
	}
	core := syscall.Rlimit{}
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	if spec.Enter != nil {
		if err := spec.enter(); err != nil {
			return err
		}
	}
	if err := spec.filter(); err != nil {
		return err
	}
	unix.Umask(0o077)
	return become(args[2:])
}

// become executes the command, with nothing of the keeper's environment.
func become(command []string) error {
	os.Setenv("PATH", standardPath)
	path, err := exec.LookPath(command[0])
	if err == nil {
		err = syscall.Exec(path, command, []string{"PATH=" + standardPath, "LANG=C.UTF-8"})
	}
	return faultf(CommandUnspawned, "exec %s: %v", command[0], err)
}

const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// keepStandardFiles lets the command have no descriptor but 0, 1 and 2.
func keepStandardFiles() {
	if unix.CloseRange(statusFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Before Linux 5.11.
	open, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= statusFD {
			unix.CloseOnExec(fd)
		}
	}
}

// leaveCgroupView joins the cgroups and makes them all that the VMM sees of the hierarchies.
func leaveCgroupView(directories []string) error {
	if err := joinCgroups(directories); err != nil {
		return err
	}
	// A kernel without these namespaces shows the names of other cgroups in /proc, and no more.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil && err != unix.EINVAL {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	return nil
}

// leaveKeyring gives the calling thread an empty session keyring: that of who started the keeper may hold its secrets.
func leaveKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	// A kernel without keyrings.
	if err != nil && err != unix.ENOSYS {
		return fmt.Errorf("session keyring: %w", err)
	}
	return nil
}

// joinNetwork puts the calling thread in a network namespace, which the command then has.
func joinNetwork(path string) error {
	if path == "" {
		return nil
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	return nil
}

// raiseLoopback does what it may: no VMM needs a loopback interface, and root without CAP_NET_ADMIN can jail one too.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil && err != unix.EPERM {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}
