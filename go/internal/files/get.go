package files

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// inode is what the names of one file have in common.
type inode struct{ dev, ino uint64 }

// sender sends a tree.
type sender struct {
	encoder
	root string
	// The first name of each file that has several.
	linked map[inode]string
	buffer []byte
}

// get answers a file or a tree. A link at its top is followed; the others are sent as they are.
func get(r *Request, s Session) error {
	root, err := filepath.EvalSymlinks(string(r.Path))
	if err != nil {
		return err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return pathError("read", root, unix.EINVAL)
	}
	out := sender{
		encoder: encoder{bufio.NewWriterSize(s.Out, 64<<10)}, root: root, linked: map[inode]string{},
		buffer: make([]byte, maxRecord),
	}
	if err := out.send(".", info); err != nil {
		return err
	}
	if err := out.record(recordEnd, nil); err != nil {
		return err
	}
	return out.out.Flush()
}

func (s *sender) send(path string, info fs.FileInfo) error {
	f := factsOf(filepath.Join(s.root, path), info)
	uid, gid := int(f.UID), int(f.GID)
	e := entry{
		Path: []byte(path), Type: f.Type, Mode: &f.Mode, UID: &uid, GID: &gid, MtimeNs: &f.MtimeNs, Target: f.Target,
	}
	switch f.Type {
	case "directory":
		return s.sendDirectory(path, e)
	case "symlink":
		return s.json(recordEntry, e)
	case "file":
		return s.sendFile(path, info, e)
	}
	return s.skip(path, &Error{"ENOTSUP", "neither a file, a directory nor a link"})
}

// skip goes on without what has gone, or cannot be read. What was asked for itself is not left out.
func (s *sender) skip(path string, err error) error {
	if path == "." {
		return err
	}
	var errno unix.Errno
	var own *Error
	name := "EIO"
	if errors.As(err, &own) {
		name = own.Errno
	} else if errors.As(err, &errno) {
		name = unix.ErrnoName(errno)
	}
	return s.json(recordSkipped, skipped{[]byte(path), name})
}

func (s *sender) sendDirectory(path string, e entry) error {
	dir, err := openNonblocking(filepath.Join(s.root, path), unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return s.skip(path, err)
	}
	defer dir.Close()
	if err := s.json(recordEntry, e); err != nil {
		return err
	}
	for {
		children, err := dir.ReadDir(listBatch)
		for _, child := range children {
			childPath := filepath.Join(path, child.Name())
			info, err := child.Info()
			if err == nil {
				err = s.send(childPath, info)
			} else {
				err = s.skip(childPath, err)
			}
			if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return s.skip(path, err)
		}
	}
}

func (s *sender) sendFile(path string, _ fs.FileInfo, e entry) error {
	// What has become a link or a pipe meanwhile is left out.
	file, info, err := openRegular(filepath.Join(s.root, path), unix.O_NOFOLLOW)
	if err != nil {
		return s.skip(path, err)
	}
	defer file.Close()
	st := info.Sys().(*syscall.Stat_t)
	key := inode{uint64(st.Dev), st.Ino}
	if st.Nlink > 1 {
		if first, ok := s.linked[key]; ok {
			return s.json(recordEntry, entry{Path: e.Path, Type: "hardlink", Target: []byte(first)})
		}
		s.linked[key] = path
	}
	e.Size = info.Size()
	if err := s.json(recordEntry, e); err != nil {
		return err
	}
	if st.Blocks*512 < e.Size {
		err = s.sendSparse(file, e.Size)
	} else {
		// Files of /proc say that they are empty, and a log goes on while it is read.
		limit := e.Size
		if limit == 0 {
			limit = 1<<63 - 1
		}
		err = s.sendData(io.LimitReader(file, limit))
	}
	if err != nil {
		// There may be other names of it, which are tried in their turn.
		delete(s.linked, key)
		return s.skip(path, err)
	}
	return s.record(recordFinish, nil)
}

func (s *sender) sendData(from io.Reader) error {
	for {
		n, err := from.Read(s.buffer)
		if n > 0 {
			if err := s.record(recordData, s.buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (s *sender) sendSparse(file *os.File, size int64) error {
	for at := int64(0); at < size; {
		data, err := file.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = size // a hole up to the end
		} else if err != nil {
			return err
		}
		data = min(data, size)
		if data > at {
			if err := s.record(recordHole, binary.BigEndian.AppendUint64(nil, uint64(data-at))); err != nil {
				return err
			}
		}
		if data == size {
			return nil
		}
		hole, err := file.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := s.sendData(io.NewSectionReader(file, data, min(hole, size)-data)); err != nil {
			return err
		}
		at = min(hole, size)
	}
	return nil
}
