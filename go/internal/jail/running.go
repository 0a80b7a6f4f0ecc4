package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Running is the view of a VMM that runs. Paths can come into it and leave it.
type Running struct {
	spec *Spec
	// Its first process, and whether it still is that.
	pid   int
	alive func() bool

	mu sync.Mutex
	// What Mount has put there, and whether it had to make a place for it.
	mounted map[string]bool
}

// NewRunning answers the view of the process that confine has become. alive must be false from when the process has
// been reaped.
func NewRunning(spec *Spec, pid int, alive func() bool) *Running {
	return &Running{spec: spec, pid: pid, alive: alive, mounted: map[string]bool{}}
}

// Mount binds one more path. One that is there by an earlier call is replaced.
func (r *Running) Mount(mount Mount) error {
	if err := mount.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Opened here, in the host's view.
	t, err := openTree(mount, r.spec.UID, r.spec.GID)
	if err != nil {
		return err
	}
	defer t.close()
	return r.inside(func(v *view) error {
		if made, found := r.mounted[mount.Path]; found {
			if err := v.unbind(mount.Path, made); err != nil {
				return err
			}
			delete(r.mounted, mount.Path)
		}
		made, err := v.bind(mount, t, r.spec.GID)
		if err != nil {
			return err
		}
		r.mounted[mount.Path] = made
		return nil
	})
}

// Unmount takes away a path that Mount has bound.
func (r *Running) Unmount(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	made, found := r.mounted[path]
	if !found {
		return fmt.Errorf("%q is not what a call has mounted", path)
	}
	return r.inside(func(v *view) error {
		if err := v.unbind(path, made); err != nil {
			return err
		}
		delete(r.mounted, path)
		return nil
	})
}

// inside runs what is to happen in the VMM's mount namespace, on a thread that ends with it.
func (r *Running) inside(do func(*view) error) error {
	namespace, err := openNamespace(r.pid, "mnt")
	if err != nil {
		return err
	}
	defer unix.Close(namespace)
	// A jailer makes it anew, at a time of its own, so it cannot be held from the start on.
	if err := checkMaker(namespace); err != nil {
		return err
	}
	if !r.alive() {
		return errors.New("the VMM has ended")
	}
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		done <- r.enterView(namespace, do)
	}()
	return <-done
}

func openNamespace(pid int, kind string) (int, error) {
	fd, err := unix.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("the %s namespace of %d: %w", kind, pid, err)
	}
	return fd, nil
}

// checkMaker refuses a mount namespace that the VMM has made: there it would choose what root mounts into. Without
// capabilities it can make and enter only those of a user namespace other than ours.
func checkMaker(namespace int) error {
	own, err := openNamespace(os.Getpid(), "user")
	if err != nil {
		return err
	}
	defer unix.Close(own)
	maker, err := unix.IoctlRetInt(namespace, unix.NS_GET_USERNS)
	if err != nil {
		return os.NewSyscallError("NS_GET_USERNS", err)
	}
	defer unix.Close(maker)
	var ours, theirs unix.Stat_t
	if err := errors.Join(unix.Fstat(own, &ours), unix.Fstat(maker, &theirs)); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if ours.Dev != theirs.Dev || ours.Ino != theirs.Ino {
		return errors.New("the VMM has left its jail's mount namespace for one that it made itself: end it")
	}
	return nil
}

func (r *Running) enterView(namespace int, do func(*view) error) error {
	// A thread that shares its root directory with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	unix.Umask(0)
	v, err := openView("/", r.spec.ownsTmp())
	if err != nil {
		return err
	}
	defer v.close()
	return do(v)
}
