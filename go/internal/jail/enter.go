package jail

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// enter makes the root this process's own and gives up everything that is not the VMM's. The main thread must call it:
// capabilities are a thread's own, and the one that executes the command is the one whose count.
func (s *Spec) enter() error {
	if err := pivot(s.Root); err != nil {
		return err
	}
	if s.Enter.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Enter.Hostname)); err != nil {
			return os.NewSyscallError("sethostname", err)
		}
	}
	if err := s.Enter.limit(); err != nil {
		return err
	}
	return s.drop()
}

// pivot changes the root directory and takes the old one out of sight.
func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("%s: %w", root, err)
	}
	// The old root comes to lie on the new one (pivot_root(2)), where it is detached.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("%s: %w", root, os.NewSyscallError("pivot_root", err))
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

func (e *Enter) limit() error {
	limits := map[int]uint64{unix.RLIMIT_NOFILE: e.OpenFiles, unix.RLIMIT_FSIZE: e.FileSizeBytes}
	for resource, limit := range limits {
		if limit == 0 {
			continue
		}
		// The syscall package's, which knows that Go is not to put back the limit of open files when it executes.
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	return nil
}

// drop changes to the uid, for good.
func (s *Spec) drop() error {
	for capability := uintptr(0); ; capability++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if err == unix.EINVAL && capability > 0 {
			break
		}
		if err != nil {
			return os.NewSyscallError("prctl", err)
		}
	}
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return err
	}
	// These change every thread's.
	err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(s.GID, s.GID, s.GID), syscall.Setresuid(s.UID, s.UID, s.UID))
	if err != nil {
		return fmt.Errorf("uid %d and gid %d: %w", s.UID, s.GID, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	none := [2]unix.CapUserData{}
	if err := unix.Capset(&header, &none[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	return dieWithParent()
}

// dieWithParent asks again for the end that the kernel's order to end with the keeper had by the change of uid.
func dieWithParent() error {
	if err := prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)); err != nil {
		return err
	}
	// Where it ended before that, nobody is left to read from the pipe. (getppid is 0 in a process namespace's first.)
	pipe := []unix.PollFd{{Fd: statusFD}}
	if n, err := unix.Poll(pipe, 0); err == nil && n > 0 && pipe[0].Revents&unix.POLLERR != 0 {
		return errors.New("the keeper has ended")
	}
	return nil
}

func prctl(option int, value uintptr) error {
	return os.NewSyscallError("prctl", unix.Prctl(option, value, 0, 0, 0))
}
