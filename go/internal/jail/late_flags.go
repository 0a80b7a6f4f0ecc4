package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lateFlags set a tree's flags where it is mounted, for kernels without mount_setattr: Linux before 5.12.
type lateFlags struct {
	want uintptr
	// What is mounted in the tree, by paths in it.
	below []string
	// The host's /proc/self/fd, which nothing leads to from inside.
	files int
}

func flagsForLater(mount Mount) (*lateFlags, error) {
	l := &lateFlags{want: unix.MS_NOSUID | unix.MS_NODEV}
	if !mount.Writable {
		l.want |= unix.MS_RDONLY
	}
	var err error
	if mount.Recursive {
		if l.below, err = mountsBelow(mount.Path); err != nil {
			return nil, fmt.Errorf("%s: %w", mount.Path, err)
		}
	}
	if l.files, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("open /proc/self/fd", err)
	}
	return l, nil
}

func (l *lateFlags) close() { unix.Close(l.files) }

// set changes the working directory, to the root.
func (l *lateFlags) set(tree int) error {
	if err := l.remount(tree); err != nil {
		return err
	}
	for _, name := range l.below {
		if err := l.setBelow(tree, name); err != nil {
			return fmt.Errorf("%s in it: %w", name, err)
		}
	}
	return nil
}

func (l *lateFlags) setBelow(tree int, name string) error {
	fd, err := unix.Openat2(tree, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	defer unix.Close(fd)
	return l.remount(fd)
}

// remount sets the flags of one mount, and keeps those that it has.
func (l *lateFlags) remount(fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	// These have the numbers of the ST_ flags (statfs(2)).
	kept := uintptr(fs.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	// mount takes no descriptor, and the jail's /proc does not show ours.
	if err := unix.Fchdir(l.files); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	defer unix.Chdir("/")
	err := unix.Mount("", strconv.Itoa(fd), "", unix.MS_BIND|unix.MS_REMOUNT|kept|l.want, "")
	return os.NewSyscallError("mount", err)
}

// mountsBelow finds what the caller sees mounted in a directory.
func mountsBelow(directory string) ([]string, error) {
	directory, err := filepath.EvalSymlinks(directory)
	if err != nil {
		return nil, err
	}
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	var below []string
	for line := range strings.Lines(string(info)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point.
		if fields := strings.Fields(line); len(fields) > 4 {
			if name, within := strings.CutPrefix(unescape(fields[4]), directory+"/"); within {
				below = append(below, name)
			}
		}
	}
	return below, nil
}

// unescape undoes how /proc writes a path.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
