package files

import (
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// madeFile is a file that was made here, by its descriptor alone: a tree has many, and os.File asks the kernel several times more what it has
// opened. What is done to it does not look up its path again.
type madeFile struct {
	fd   int
	path string
}

// makeFile makes a file that only its owner can open, and that is not there.
func makeFile(path string) (*madeFile, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return &madeFile{fd, path}, nil
}

func (f *madeFile) Write(data []byte) (int, error) {
	for written := 0; written < len(data); {
		n, err := again(func() (int, error) { return unix.Write(f.fd, data[written:]) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return written, pathError("write", f.path, err)
		}
		written += n
	}
	return len(data), nil
}

func (f *madeFile) Seek(offset int64, whence int) (int64, error) {
	at, err := unix.Seek(f.fd, offset, whence)
	return at, pathError("seek", f.path, err)
}

func (f *madeFile) Truncate(size int64) error {
	_, err := again(func() (int, error) { return 0, unix.Ftruncate(f.fd, size) })
	return pathError("truncate", f.path, err)
}

func (f *madeFile) Close() error { return pathError("close", f.path, unix.Close(f.fd)) }

// apply does what apply(path, e) does.
func (f *madeFile) apply(e entry) error {
	if e.UID != nil || e.GID != nil {
		if err := unix.Fchown(f.fd, idOr(e.UID), idOr(e.GID)); err != nil {
			return pathError("chown", f.path, err)
		}
	}
	if e.Mode != nil {
		if err := unix.Fchmod(f.fd, *e.Mode&0o7777); err != nil {
			return pathError("chmod", f.path, err)
		}
	}
	if e.MtimeNs == nil {
		return nil
	}
	// futimens(3), which is utimensat(2) without a path.
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(*e.MtimeNs)}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(f.fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return pathError("utimensat", f.path, errno)
	}
	return nil
}

// again calls what a signal has interrupted again. The runtime of Go sends itself some.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
