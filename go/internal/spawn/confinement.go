package spawn

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
)

// confinement is what the VMM is shut in, and what was made or lent on the host for that.
type confinement struct {
	file string
	spec *jail.Spec
	taps []jail.Tap
}

// confine reads jail.json and lends the VMM its TAPs.
func confine(file string) (*confinement, error) {
	spec, err := jail.Read(file)
	if err != nil {
		return nil, err
	}
	taps, err := jail.LendTaps(spec.Taps, spec.UID, spec.GID)
	if err != nil {
		jail.RemoveCgroups(spec.Cgroups)
		return nil, err
	}
	return &confinement{file: file, spec: spec, taps: taps}, nil
}

func (c *confinement) release() error { return Release(c.spec, c.taps) }

// start runs smartvm-confine, which becomes the VMM: it answers once it has, or with why it could not.
func (c *confinement) start(argv []string, stdio []uintptr) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	path := Beside(self, "confine")
	status, theirs, err := statusPipe()
	if err != nil {
		return 0, err
	}
	defer status.Close()
	pid, err := c.clone(path, &syscall.ProcAttr{Files: append(stdio, uintptr(theirs))}, argv)
	unix.Close(theirs)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	word, err := io.ReadAll(status)
	if err == nil {
		err = jail.ParseFault(word)
	}
	if err != nil {
		unix.Wait4(pid, nil, 0, nil) // it ends by itself, having said why
	}
	return pid, err
}

// clone starts a process in new namespaces and, where the kernel can, in the VMM's cgroup of version 2: to move it there
// later takes the kernel 20 ms.
func (c *confinement) clone(path string, attr *syscall.ProcAttr, argv []string) (int, error) {
	flags := unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if c.spec.PrivateNetwork {
		flags |= unix.CLONE_NEWNET
	}
	attr.Sys = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: uintptr(flags)}
	argv = append([]string{path, c.file}, argv...)
	if cgroup := jail.OpenCgroup(c.spec.Cgroups); cgroup >= 0 {
		defer unix.Close(cgroup)
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, cgroup
		if pid, err := syscall.ForkExec(path, argv, attr); err == nil {
			return pid, nil
		}
		// Before Linux 5.7, or where clone3 is forbidden: it joins by itself.
		attr.Sys.UseCgroupFD = false
	}
	return syscall.ForkExec(path, argv, attr)
}

// statusPipe answers our end, which ends when theirs is closed by the execution of the VMM.
func statusPipe() (*os.File, int, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, 0, os.NewSyscallError("pipe2", err)
	}
	return os.NewFile(uintptr(ends[0]), "pipe"), ends[1], nil
}

// stderrOf answers as pipe does for our end 0: a FIFO that has a name, where the jail asks for one.
func stderrOf(jailed *confinement) (int, int, error) {
	if jailed == nil || jailed.spec.StderrFIFO == "" {
		return pipe(0)
	}
	return jailed.makeFIFO()
}

// makeFIFO makes the FIFO that is the VMM's standard error, the uid's own.
func (c *confinement) makeFIFO() (int, int, error) {
	path := c.spec.StderrFIFO
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return 0, 0, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	ours, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.Fchown(ours, c.spec.UID, c.spec.GID); err != nil {
		return 0, 0, &os.PathError{Op: "chown", Path: path, Err: err}
	}
	theirs, err := unix.Open("/proc/self/fd/"+strconv.Itoa(ours), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return theirs, ours, nil
}
