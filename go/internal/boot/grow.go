package boot

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64): the file system's size in blocks. See Linux's fs/ext4/ext4.h.
const ext4ResizeFS = 0x40086610

// grow makes a mounted ext4 as large as its device. The kernel does nothing where it is so already.
func grow(device, target string) error {
	bytes, err := sizeOf(device)
	if err != nil {
		return err
	}
	dir, err := os.Open(target)
	if err != nil {
		return err
	}
	defer dir.Close()
	var state unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &state); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	blocks := binary.NativeEndian.AppendUint64(nil, bytes/uint64(state.Bsize))
	if err := ioctlBytes(int(dir.Fd()), ext4ResizeFS, blocks); err != nil {
		return fmt.Errorf("grow the file system of %s to %d bytes: %w", device, bytes, err)
	}
	return nil
}

func sizeOf(device string) (uint64, error) {
	file, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var bytes uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&bytes)))
	if errno != 0 {
		return 0, &os.PathError{Op: "BLKGETSIZE64", Path: device, Err: errno}
	}
	return bytes, nil
}
