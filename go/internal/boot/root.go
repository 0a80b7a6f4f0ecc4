package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/kmod"
)

const (
	lowerDir = "/mnt/lower"
	rwDir    = "/mnt/rw"
	rootDir  = "/mnt/root"
	// How long a block device may take to appear once its driver is there.
	deviceTimeout = 10 * time.Second
)

// Root is the root file system, mounted in the initramfs until Switch.
type Root struct {
	// Writable file systems of block devices, the topmost first, as descriptors: their mount points are out of reach
	// after Switch.
	writable []*os.File
	// Own says that writes go to a layer of the VM's own.
	Own bool
}

// MountRoot mounts the root file system and its overlay, if it has one.
func MountRoot(config *guestconfig.Root, modules *kmod.Loader) (*Root, error) {
	if config.Overlay == nil {
		r := &Root{Own: config.Own}
		err := r.mountDevice(config.Device, config.FSType, rootDir, config.ReadOnly, modules)
		if err == nil && config.Grow {
			err = grow(config.Device, rootDir)
		}
		return r, err
	}
	r := &Root{Own: true}
	if err := r.mountDevice(config.Device, config.FSType, lowerDir, true, modules); err != nil {
		return nil, err
	}
	if err := r.mountUpper(config.Overlay, modules); err != nil {
		return nil, err
	}
	if err := modules.Load("overlay"); err != nil {
		return nil, err
	}
	for _, dir := range []string{rwDir + "/upper", rwDir + "/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return nil, err
		}
	}
	options := "lowerdir=" + lowerDir + ",upperdir=" + rwDir + "/upper,workdir=" + rwDir + "/work"
	if err := (mount{"overlay", rootDir, "overlay", 0, options}).do(); err != nil {
		return nil, err
	}
	return r, r.keepWritable(rootDir)
}

func (r *Root) mountUpper(overlay *guestconfig.Overlay, modules *kmod.Loader) error {
	if overlay.Device == "tmpfs" {
		return mount{"tmpfs", rwDir, "tmpfs", 0, "mode=0755"}.do()
	}
	err := r.mountDevice(overlay.Device, overlay.FSType, rwDir, false, modules)
	if err == nil && overlay.Grow {
		err = grow(overlay.Device, rwDir)
	}
	return err
}

func (r *Root) mountDevice(device, fsType, target string, readOnly bool, modules *kmod.Loader) error {
	if err := waitFor(device, deviceTimeout); err != nil {
		return err
	}
	if fsType == "" {
		found, err := probe(device)
		if err != nil {
			return err
		}
		fsType = found
	}
	if err := errors.Join(modules.Load(fsType), modules.Load("fs-"+fsType)); err != nil {
		return err
	}
	var flags uintptr
	if readOnly {
		flags = unix.MS_RDONLY
	}
	err := mount{device, target, fsType, flags, ""}.do()
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: neither this kernel nor its initramfs has %s", err, fsType)
	}
	if err != nil || readOnly {
		return err
	}
	return r.keepWritable(target)
}

func (r *Root) keepWritable(target string) error {
	dir, err := os.Open(target)
	if err != nil {
		return err
	}
	r.writable = append([]*os.File{dir}, r.writable...)
	return nil
}

// probe tells a file system by its magic number.
func probe(device string) (string, error) {
	file, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var head [2048]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return "", fmt.Errorf("%s: %w", device, err)
	}
	switch {
	case bytes.HasPrefix(head[:], []byte("hsqs")):
		return "squashfs", nil
	case binary.LittleEndian.Uint32(head[1024:]) == 0xe0f5e1e2:
		return "erofs", nil
	case binary.LittleEndian.Uint16(head[1024+56:]) == 0xef53:
		return "ext4", nil
	}
	return "", fmt.Errorf("%s holds no file system that the agent knows (ext4, squashfs, erofs)", device)
}

// Switch makes the mounted root file system the process's, and lets go of the initramfs's files.
func (r *Root) Switch() error {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		target := rootDir + dir
		// A read-only root file system has them or cannot be used.
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	for _, path := range []string{"/init", "/smartvm"} {
		os.RemoveAll(path)
	}
	if err := os.Chdir(rootDir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root file system: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.Chdir("/")
}

// Detach makes every block device's file system consistent and read-only.
func (r *Root) Detach() {
	unix.Sync()
	for _, dir := range r.writable {
		path := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
		unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	unix.Sync()
}

// waitFor waits until a file of a directory that exists appears.
func waitFor(path string, timeout time.Duration) error {
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return &os.PathError{Op: "watch", Path: filepath.Dir(path), Err: err}
	}
	events := make([]byte, 4096)
	for deadline := time.Now().Add(timeout); ; {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%s does not appear: is its drive attached, and its driver in the initramfs?", path)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if ready > 0 {
			unix.Read(watch, events)
		}
	}
}
