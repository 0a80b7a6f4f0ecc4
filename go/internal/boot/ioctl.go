package boot

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func ioctlBytes(fd int, request uint, argument []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&argument[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
