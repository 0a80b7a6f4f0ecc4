package jail

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// baseBytes bounds what a VMM can put in its root: the jailer's copy of Firecracker, a pid file.
const baseBytes = 64 << 20

// build makes the root and all that is in it. It runs in a mount namespace of its own.
func (s *Spec) build() error {
	// What is mounted from here on is seen by nobody else.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount propagation: %w", err)
	}
	// With devices and programs in it, whatever the host mounts its /run with.
	options := fmt.Sprintf("mode=0755,size=%d", baseBytes)
	if err := unix.Mount("smartvm", s.Base, "tmpfs", unix.MS_NOSUID, options); err != nil {
		return fmt.Errorf("tmpfs on %s: %w", s.Base, err)
	}
	if err := os.MkdirAll(s.Root, 0o755); err != nil {
		return err
	}
	if err := s.furnish(); err != nil {
		return err
	}
	v, err := openView(s.Root, s.ownsTmp())
	if err != nil {
		return err
	}
	defer v.close()
	for link, target := range s.Links {
		if err := v.link(link, target); err != nil {
			return err
		}
	}
	for _, mount := range s.Mounts {
		if err := v.add(mount, s.UID, s.GID); err != nil {
			return err
		}
	}
	if s.Enter != nil {
		return v.devices(s.Enter.Devices, s.UID, s.GID)
	}
	return nil
}

// furnish mounts what the jail has of its own, for the host's files to be bound in.
func (s *Spec) furnish() error {
	if s.Enter == nil {
		return nil
	}
	// pivot_root wants a mount.
	if err := unix.Mount(s.Root, s.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", s.Root, err)
	}
	if s.Enter.Proc {
		// Read-only: one process of the VMM's may not write another's memory, though it has the same uid.
		flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY)
		if err := mountNew("proc", s.Root+"/proc", flags, ""); err != nil {
			return err
		}
	}
	if s.Enter.TmpBytes > 0 {
		options := fmt.Sprintf("mode=1777,size=%d", s.Enter.TmpBytes)
		return mountNew("tmpfs", s.Root+"/tmp", unix.MS_NOSUID|unix.MS_NODEV, options)
	}
	return nil
}

func mountNew(kind, point string, flags uintptr, options string) error {
	if err := os.Mkdir(point, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, point, kind, flags, options); err != nil {
		return fmt.Errorf("%s on %s: %w", kind, point, err)
	}
	return nil
}

func (v *view) add(mount Mount, uid, gid int) error {
	t, err := openTree(mount, uid, gid)
	if err != nil {
		return err
	}
	defer t.close()
	_, err = v.bind(mount, t, gid)
	return err
}

// link makes a symbolic link.
func (v *view) link(name, target string) error {
	parent, err := v.directory(path.Dir(name))
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	defer unix.Close(parent)
	if err := unix.Symlinkat(target, parent, path.Base(name)); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// devices makes the character devices that the host has too: KVM and TUN for the uid alone.
func (v *view) devices(paths []string, uid, gid int) error {
	for _, name := range paths {
		var stat unix.Stat_t
		if unix.Stat(name, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		mode, owner, group := uint32(unix.S_IFCHR|0o666), 0, 0
		if name == "/dev/kvm" || name == "/dev/net/tun" {
			mode, owner, group = unix.S_IFCHR|0o600, uid, gid
		}
		if err := v.device(name, mode, stat.Rdev, owner, group); err != nil {
			return err
		}
	}
	return nil
}
