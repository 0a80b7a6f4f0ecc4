package files

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	listBatch  = 256
	readBuffer = 256 << 10
)

func stat(r *Request, s Session) error {
	look := os.Lstat
	if r.Follow {
		look = os.Stat
	}
	info, err := look(string(r.Path))
	if err != nil {
		return err
	}
	return answer(s.Out, factsOf(string(r.Path), info))
}

// list answers a line for each entry, in the order of the directory: it is never in memory as a whole.
func list(r *Request, s Session) error {
	dir, err := openNonblocking(string(r.Path), unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	out := bufio.NewWriterSize(s.Out, readBuffer)
	for {
		entries, err := dir.ReadDir(listBatch)
		for _, entry := range entries {
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has gone meanwhile
			} else if err != nil {
				return err
			}
			f := factsOf(filepath.Join(string(r.Path), entry.Name()), info)
			f.Name = []byte(entry.Name())
			if err := answer(out, f); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return out.Flush()
		} else if err != nil {
			return err
		}
	}
}

func mkdir(r *Request, _ Session) error {
	path, mode := withoutEnd(string(r.Path)), fs.FileMode(0o755)
	if r.Mode != nil {
		mode = fs.FileMode(*r.Mode & 0o777)
	}
	if r.Recursive {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil {
		// Somebody else may have made it meanwhile.
		if info, statErr := os.Stat(path); r.Recursive && errors.Is(err, fs.ErrExist) && statErr == nil && info.IsDir() {
			return nil
		}
		return err
	}
	if r.Mode != nil {
		return os.NewSyscallError("chmod", unix.Chmod(path, *r.Mode&0o7777))
	}
	return nil
}

// withoutEnd takes slashes from the end of a path, and dots that are names there: the parent of "/a/b/" is "/a". What a link leads to is
// another file with them than without, so this is for what makes the last name alone.
func withoutEnd(path string) string {
	for {
		shorter := strings.TrimSuffix(strings.TrimSuffix(path, "/."), "/")
		if shorter == "" {
			return "/"
		} else if shorter == path {
			return path
		}
		path = shorter
	}
}

func rename(r *Request, _ Session) error {
	return os.Rename(string(r.Path), string(r.To))
}

func remove(r *Request, _ Session) error {
	path := string(r.Path)
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	if r.Recursive {
		return os.RemoveAll(path)
	}
	return os.Remove(path)
}

func chmod(r *Request, _ Session) error {
	if r.Mode == nil {
		return &Error{"EINVAL", "chmod needs a mode"}
	}
	return each(r, func(path string, info fs.FileInfo) error {
		if info.Mode().Type() == fs.ModeSymlink && path != string(r.Path) {
			return nil // it has no mode of its own, and what it leads to is not in the tree
		}
		return pathError("chmod", path, unix.Chmod(path, *r.Mode&0o7777))
	})
}

func chown(r *Request, _ Session) error {
	uid, gid := idOr(r.UID), idOr(r.GID)
	return each(r, func(path string, _ fs.FileInfo) error { return os.Lchown(path, uid, gid) })
}

// idOr is -1, which changes nothing, where none is given.
func idOr(id *int) int {
	if id == nil {
		return -1
	}
	return *id
}

// each calls change for the path, and for all below it if the request is recursive.
func each(r *Request, change func(path string, info fs.FileInfo) error) error {
	root := string(r.Path)
	info, err := os.Lstat(root)
	if err != nil {
		return err
	}
	if !r.Recursive || !info.IsDir() {
		return change(root, info)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return change(path, info)
	})
}

func symlink(r *Request, _ Session) error {
	return os.Symlink(string(r.To), string(r.Path))
}

func readlink(r *Request, s Session) error {
	target, err := os.Readlink(string(r.Path))
	if err != nil {
		return err
	}
	return answer(s.Out, map[string][]byte{"target": []byte(target)})
}

// read answers the bytes themselves.
func read(r *Request, s Session) error {
	file, _, err := openRegular(string(r.Path), 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if r.Offset > 0 {
		if _, err := file.Seek(r.Offset, io.SeekStart); err != nil {
			return err
		}
	}
	var from io.Reader = file
	if r.Length != nil {
		from = io.LimitReader(file, *r.Length)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{s.Out}, struct{ io.Reader }{from}, make([]byte, readBuffer))
	return err
}

// openNonblocking does not wait for the writer of a pipe.
func openNonblocking(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
}

// openRegular opens what can be read to an end.
func openRegular(path string, flags int) (*os.File, fs.FileInfo, error) {
	file, err := openNonblocking(path, flags)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = pathError("read", path, unix.EISDIR)
	} else if err == nil && !info.Mode().IsRegular() {
		err = pathError("read", path, unix.EINVAL)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
