package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/reaper"
)

// confinement is what the VMM is shut in, and what was made or lent on the host for that.
type confinement struct {
	file string
	spec *jail.Spec
	taps []jail.Tap
	view *jail.Running
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

// release undoes what outlives the VMM. The kernel has undone the rest.
func (c *confinement) release() error {
	return errors.Join(jail.RemoveCgroups(c.spec.Cgroups), jail.ReturnTaps(c.taps))
}

// confineBeside is the program that shuts the VMM in: it lies beside the keeper and is named as it is, architecture and
// all.
func confineBeside(keeper string) string {
	return filepath.Join(filepath.Dir(keeper), strings.Replace(filepath.Base(keeper), "keeper", "confine", 1))
}

// start runs smartvm-confine, which becomes the VMM: it answers once it has, or with why it could not.
func (c *confinement) start(children *reaper.Reaper, argv []string, stdio []uintptr) (*reaper.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	path := confineBeside(self)
	status, theirs, err := statusPipe()
	if err != nil {
		return nil, err
	}
	defer status.Close()
	process, err := c.clone(children, path, &syscall.ProcAttr{Files: append(stdio, uintptr(theirs))}, argv)
	unix.Close(theirs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	word, err := io.ReadAll(status)
	if err == nil {
		err = jail.ParseFault(word)
	}
	if err != nil {
		return nil, err
	}
	c.view = jail.NewRunning(c.spec, process.Pid, func() bool { return process.Signal(0) == nil })
	return process, nil
}

// clone starts a process in new namespaces and, where the kernel can, in the VMM's cgroup of version 2: to move it there
// later takes the kernel 20 ms.
func (c *confinement) clone(
	children *reaper.Reaper, path string, attr *syscall.ProcAttr, argv []string,
) (*reaper.Process, error) {
	flags := unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if c.spec.PrivateNetwork {
		flags |= unix.CLONE_NEWNET
	}
	attr.Sys = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: uintptr(flags)}
	argv = append([]string{path, c.file}, argv...)
	if cgroup := jail.OpenCgroup(c.spec.Cgroups); cgroup >= 0 {
		defer unix.Close(cgroup)
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, cgroup
		if process, err := children.Start(path, argv, attr); err == nil {
			return process, nil
		}
		// Before Linux 5.7, or where clone3 is forbidden: it joins by itself.
		attr.Sys.UseCgroupFD = false
	}
	return children.Start(path, argv, attr)
}

// statusPipe answers our end, which ends when theirs is closed by the execution of the VMM.
func statusPipe() (*os.File, int, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, 0, os.NewSyscallError("pipe2", err)
	}
	return os.NewFile(uintptr(ends[0]), "pipe"), ends[1], nil
}

// makeFIFO makes the FIFO that is the VMM's standard error, the uid's own, and answers as pipe does for our end 0.
func (c *confinement) makeFIFO() (int, *os.File, error) {
	path := c.spec.StderrFIFO
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return 0, nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	ours, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.Fchown(ours, c.spec.UID, c.spec.GID); err != nil {
		return 0, nil, &os.PathError{Op: "chown", Path: path, Err: err}
	}
	theirs, err := unix.Open("/proc/self/fd/"+strconv.Itoa(ours), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return theirs, os.NewFile(uintptr(ours), path), nil
}
