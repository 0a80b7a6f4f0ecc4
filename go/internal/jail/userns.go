package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// userNamespace answers a user namespace that maps one uid and one gid to others, for an id-mapped mount. A namespace
// is made with a process: a copy of this one, which waits in the kernel until it is killed here.
func userNamespace(fromUID, toUID, fromGID, toGID uint32) (int, error) {
	pid, pidfd, err := forkWaiter(unix.CLONE_NEWUSER)
	if err != nil {
		return -1, err
	}
	defer func() {
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		unix.Close(pidfd)
		// It sends no signal when it ends, so no other wait of this process meets it.
		for errors.Is(waitWaiter(pid), unix.EINTR) {
		}
	}()
	proc, err := procOf(pidfd)
	if err != nil {
		return -1, err
	}
	for file, ids := range map[string][2]uint32{"uid_map": {fromUID, toUID}, "gid_map": {fromGID, toGID}} {
		// In one write, as user_namespaces(7) asks for.
		line := fmt.Sprintf("%d %d 1", ids[0], ids[1])
		if err := os.WriteFile(proc+file, []byte(line), 0); err != nil {
			return -1, err
		}
	}
	fd, err := unix.Open(proc+"ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return fd, os.NewSyscallError("open", err)
}

// forkWaiter forks a process that only waits, in new namespaces; nothing of Go's runs in it.
//
//go:noinline
func forkWaiter(namespaces uintptr) (pid, pidfd int, err error) {
	var fd int32
	flags := namespaces | unix.CLONE_PIDFD
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	// The third argument is where the pidfd goes, on every architecture that Go has.
	r, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, uintptr(unsafe.Pointer(&fd)), 0, 0, 0)
	if errno != 0 {
		return 0, -1, os.NewSyscallError("clone", errno)
	}
	if r == 0 {
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		for {
			// ppoll, for not every architecture has pause.
			syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	return int(r), int(fd), nil
}

func waitWaiter(pid int) error {
	_, err := unix.Wait4(pid, nil, unix.WALL, nil)
	return err
}

// procOf finds a process in the mounted /proc, which may count processes in another namespace than this one is in.
func procOf(pidfd int) (string, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if pid, found := strings.CutPrefix(line, "Pid:"); found {
			return "/proc/" + strings.TrimSpace(pid) + "/", nil
		}
	}
	return "", errors.New("the kernel does not say which process a pidfd is")
}
