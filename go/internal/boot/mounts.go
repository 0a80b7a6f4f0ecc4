// Package boot turns an initramfs into a running system: mounts, root file system, identity, addresses.
package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type mount struct {
	source, target, fsType string
	flags                  uintptr
	options                string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fsType, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

const hardened = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// MountKernel mounts what the agent itself needs before anything else, and gives it the console.
func MountKernel() error {
	for _, m := range []mount{
		{"proc", "/proc", "proc", hardened, ""},
		{"sysfs", "/sys", "sysfs", hardened, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	return OpenConsole()
}

// OpenConsole covers an initramfs without /dev/console, where the kernel starts init without open files, and a console from which
// another program has hung up everybody else (vhangup(2)).
func OpenConsole() error {
	console, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		// Without a serial port there is none.
		return nil
	}
	for fd := range 3 {
		if err := unix.Dup3(console, fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return unix.Close(console)
}

// MountDevices mounts what goes with /dev and /sys, before they move into the root file system.
func MountDevices() error {
	for _, m := range []mount{
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	// A kernel without control groups has no such directory.
	unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", hardened, "nsdelegate")
	for link, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// MountVolatile mounts the directories of the root file system that no boot hands to the next. A read-only root that
// has no such directory stays without.
func MountVolatile() {
	MountRun()
	mount{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"}.do()
}

// MountRun mounts the one of them that every init takes to be empty when it begins.
func MountRun() {
	mount{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"}.do()
}
