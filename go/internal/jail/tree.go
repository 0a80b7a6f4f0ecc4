package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// tree is a file or directory of the host as the VMM is to have it, mounted nowhere yet; or a device, which is made anew.
type tree struct {
	fd   int
	stat unix.Stat_t
	// What is to do once it is mounted, by a kernel that cannot do it before.
	flags *lateFlags
}

// openTree opens a mount's source in the caller's view: nosuid, nodev, read-only unless writable, and id-mapped where
// the uid could not use it otherwise.
func openTree(mount Mount, uid, gid int) (*tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if mount.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, mount.Path, flags)
	if err != nil {
		return nil, faultf(PathUnreadable, "%s: %v", mount.Path, err)
	}
	t := &tree{fd: fd}
	if err := t.restrict(mount, uid, gid); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() {
	unix.Close(t.fd)
	if t.flags != nil {
		t.flags.close()
	}
}

func (t *tree) restrict(mount Mount, uid, gid int) error {
	if err := unix.Fstat(t.fd, &t.stat); err != nil {
		return fmt.Errorf("%s: stat: %w", mount.Path, err)
	}
	if t.isDevice() {
		return nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if !mount.Writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	mapped := !admits(&t.stat, uint32(uid), uint32(gid), mount.Writable)
	if mapped {
		if err := t.checkOwner(mount, uid); err != nil {
			return err
		}
		users, err := userNamespace(t.stat.Uid, uint32(uid), t.stat.Gid, uint32(gid))
		if err != nil {
			return faultf(PathUnreadable, "%s is not the VM's to use (%s), and ids cannot be mapped: %v",
				mount.Path, describe(&t.stat), err)
		}
		defer unix.Close(users)
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(users)
	}
	at := uint(unix.AT_EMPTY_PATH)
	if mount.Recursive {
		at |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(t.fd, "", at, &attr)
	switch {
	case err == nil:
		return nil
	case mapped && err == unix.ENOSYS:
		return faultf(PathUnreadable, "%s is not the VM's to use (%s), and the kernel has no id-mapped mounts, which Linux "+
			"5.12 brought: let uid %d use it, run a later kernel, or do without jails (jail: false)",
			mount.Path, describe(&t.stat), uid)
	case mapped:
		return faultf(PathUnreadable, "%s is not the VM's to use (%s), and its file system or the kernel has no id-mapped "+
			"mounts (%v): let uid %d use it, or move it to a file system that has them, such as ext4, XFS or Btrfs on "+
			"Linux 5.15 or later", mount.Path, describe(&t.stat), err, uid)
	case err == unix.ENOSYS:
		t.flags, err = flagsForLater(mount)
		return err
	}
	return fmt.Errorf("%s: mount_setattr: %w", mount.Path, err)
}

// checkOwner refuses what not even its owner may use: an id-mapped mount gives the VM no more than that.
func (t *tree) checkOwner(mount Mount, uid int) error {
	if admits(&t.stat, t.stat.Uid, t.stat.Gid, mount.Writable) {
		return nil
	}
	want, bits := "read", "u+r"
	if mount.Writable {
		want, bits = "write", "u+rw"
	}
	if t.isDirectory() {
		bits += "x"
	}
	return faultf(PathUnreadable, "%s: its mode lets not even its owner %s it (%s), so uid %d cannot: chmod %s",
		mount.Path, want, describe(&t.stat), uid, bits)
}

func (t *tree) isDirectory() bool { return t.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

func (t *tree) isDevice() bool {
	kind := t.stat.Mode & unix.S_IFMT
	return kind == unix.S_IFBLK || kind == unix.S_IFCHR
}

// admits is true where owner and mode let a user read, and write where asked, and enter a directory.
func admits(stat *unix.Stat_t, uid, gid uint32, write bool) bool {
	want := uint32(0o4)
	if write {
		want |= 0o2
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		want |= 0o1
	}
	bits := stat.Mode
	switch {
	case stat.Uid == uid:
		bits >>= 6
	case stat.Gid == gid:
		bits >>= 3
	}
	return bits&want == want
}

func describe(stat *unix.Stat_t) string {
	return fmt.Sprintf("mode %04o of uid %d and gid %d", stat.Mode&0o7777, stat.Uid, stat.Gid)
}

// mount puts the tree at a mount point.
func (t *tree) mount(mount Mount, point int) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	if err := unix.MoveMount(t.fd, "", point, "", flags); err != nil {
		return fmt.Errorf("%s: move_mount: %w", mount.Path, err)
	}
	return nil
}

// finish does what can only be done where the tree is mounted.
func (t *tree) finish() error {
	if t.flags == nil {
		return nil
	}
	return t.flags.set(t.fd)
}
