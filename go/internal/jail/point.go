package jail

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// view is the root of a jail, in which mount points are found and made. Symbolic links are resolved in it, never on the
// host; and nothing is made in what is the host's: only on the jail's own file systems.
type view struct {
	root int
	own  []uint64
}

func openView(root string, ownsTmp bool) (*view, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	v := &view{root: fd}
	owned := []string{"."}
	if ownsTmp {
		owned = append(owned, "tmp")
	}
	for _, name := range owned {
		var stat unix.Stat_t
		if err := unix.Fstatat(fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			v.close()
			return nil, fmt.Errorf("%s of the jail: %w", name, err)
		}
		v.own = append(v.own, stat.Dev)
	}
	return v, nil
}

func (v *view) close() { unix.Close(v.root) }

// lookup opens a path of the jail (O_PATH).
func (v *view) lookup(name string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(v.root, name, &how)
		// Something was renamed or mounted meanwhile, anywhere.
		if err == unix.EAGAIN && tries < 100 || err == unix.EINTR {
			continue
		}
		return fd, err
	}
}

// point opens the mount point for a path, and makes it where there is none, which it says.
func (v *view) point(name string, directory bool) (fd int, made bool, err error) {
	fd, err = v.lookup(name, 0)
	if errors.Is(err, unix.ENOENT) {
		made = true
		if fd, err = v.directory(path.Dir(name)); err == nil {
			defer unix.Close(fd)
			if directory {
				err = v.make(fd, path.Base(name), unix.S_IFDIR|0o755, 0)
			} else {
				err = v.make(fd, path.Base(name), unix.S_IFREG|0o444, 0)
			}
		}
		if err == nil {
			fd, err = v.lookup(name, 0)
		}
	}
	if err != nil {
		return -1, false, fmt.Errorf("mount point %s: %w", name, err)
	}
	return fd, made, nil
}

// directory opens a directory, and makes it and its parents where they are absent.
func (v *view) directory(name string) (int, error) {
	fd, err := v.lookup(name, unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := v.directory(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := v.make(parent, path.Base(name), unix.S_IFDIR|0o755, 0); err != nil {
		return -1, err
	}
	return v.lookup(name, unix.O_DIRECTORY)
}

// make makes a directory, an empty file or a device, unless the directory that it would be in is the host's.
func (v *view) make(parent int, name string, mode uint32, device uint64) error {
	var stat unix.Stat_t
	if err := unix.Fstat(parent, &stat); err != nil {
		return err
	}
	if !slices.Contains(v.own, stat.Dev) {
		return fmt.Errorf("%s is not in the host's directory that is bound there: %w", name, unix.ENOENT)
	}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.Mkdirat(parent, name, mode&0o7777)
	}
	return unix.Mknodat(parent, name, mode, int(device))
}

// device makes a device file.
func (v *view) device(name string, mode uint32, device uint64, uid, gid int) error {
	parent, err := v.directory(path.Dir(name))
	if err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	defer unix.Close(parent)
	if err := v.make(parent, path.Base(name), mode, device); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	if err := unix.Fchownat(parent, path.Base(name), uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("device %s: chown: %w", name, err)
	}
	return nil
}

// bind mounts a tree of the host at its path in the jail. A device is made anew, as root's, whose group may use it: a
// device cannot be opened through a nodev mount. It answers whether something was made for it, which unbind is to remove.
func (v *view) bind(mount Mount, t *tree, gid int) (made bool, err error) {
	if t.isDevice() {
		mode := t.stat.Mode&unix.S_IFMT | 0o440
		if mount.Writable {
			mode |= 0o220
		}
		return true, v.device(mount.Path, mode, t.stat.Rdev, 0, gid)
	}
	point, made, err := v.point(mount.Path, t.isDirectory())
	if err != nil {
		return false, err
	}
	defer unix.Close(point)
	if err := t.mount(mount, point); err != nil {
		return false, err
	}
	if err := t.finish(); err != nil {
		err = fmt.Errorf("%s: %w", mount.Path, err)
		return false, errors.Join(err, v.unbind(mount.Path, made))
	}
	return made, nil
}

// unbind undoes bind, in a thread whose working directory is its own.
func (v *view) unbind(name string, made bool) error {
	parent, err := v.lookup(path.Dir(name), unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(parent)
	// umount2 takes no descriptor.
	if err := unix.Fchdir(parent); err != nil {
		return fmt.Errorf("%s: %w", path.Dir(name), err)
	}
	err = unix.Unmount(path.Base(name), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	// A device is no mount point.
	if err != nil && (err != unix.EINVAL || !made) {
		return fmt.Errorf("%s: %w", name, err)
	}
	// A directory stays where other mount points were made in it.
	if made && unix.Unlink(path.Base(name)) == unix.EISDIR {
		unix.Rmdir(path.Base(name))
	}
	return nil
}
