package files

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	plainFileMode = 0o644
	// As many as Linux follows.
	maxLinks = 40
)

// receiver makes what comes as a stream of records.
type receiver struct {
	request *Request
	root    string
	// Their times and modes are set at the end: what is made in them changes the one, and the other may forbid it.
	directories []entry
}

// put takes a file or a tree. Each file is written beside its place and takes that when it is whole; a stream that is cut leaves no part.
func put(r *Request, s Session) error {
	root := withoutEnd(string(r.Path))
	if r.Follow {
		var err error
		if root, err = followed(root); err != nil {
			return err
		}
	}
	if r.Parents {
		if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
			return err
		}
	}
	to := &receiver{request: r, root: root}
	for in := newDecoder(s.In); ; {
		kind, payload, err := in.next()
		switch {
		case err != nil:
			return err
		case kind == recordEnd:
			return to.finishDirectories()
		case kind != recordEntry:
			return fmt.Errorf("a record %q outside of a file", kind)
		}
		var e entry
		if err := json.Unmarshal(payload, &e); err != nil {
			return err
		}
		if !filepath.IsLocal(string(e.Path)) {
			return &Error{"EINVAL", "a name leads out of the tree"}
		}
		if err := to.take(e, in); err != nil {
			return err
		}
	}
}

// followed is where a file is that is written by this name, whether it is there or is to be made, as open(2) finds it.
func followed(path string) (string, error) {
	_, err := os.Stat(path)
	if errors.Is(err, unix.ELOOP) {
		return "", err
	} else if !errors.Is(err, fs.ErrNotExist) {
		// A link of /proc to a pipe leads to no name.
		if target, err := filepath.EvalSymlinks(path); err == nil {
			return target, nil
		}
		return path, nil
	}
	for range maxLinks {
		directory, name := filepath.Split(path)
		if resolved, err := filepath.EvalSymlinks(directory); err == nil {
			directory = resolved
		}
		path = filepath.Join(directory, name)
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			// Not cleaned: what ".." leads to depends on the links before it.
			target = directory + "/" + target
		}
		path = withoutEnd(target)
	}
	return "", pathError("open", path, unix.ELOOP)
}

func (t *receiver) take(e entry, in *decoder) error {
	path := filepath.Join(t.root, string(e.Path))
	switch e.Type {
	case "directory":
		// One that is there stays as it is; the top may be a link to one.
		look := os.Lstat
		if string(e.Path) == "." {
			look = os.Stat
		}
		if info, err := look(path); err == nil && info.IsDir() {
			return nil
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if e.Mode == nil {
			mode := uint32(0o755)
			e.Mode = &mode
		}
		t.directories = append(t.directories, e)
		return nil
	case "symlink":
		return replace(path, func(temporary string) error {
			if err := os.Symlink(string(e.Target), temporary); err != nil {
				return err
			}
			return apply(temporary, e)
		})
	case "hardlink":
		if !filepath.IsLocal(string(e.Target)) {
			return &Error{"EINVAL", "a link leads out of the tree"}
		}
		return replace(path, func(temporary string) error {
			return os.Link(filepath.Join(t.root, string(e.Target)), temporary)
		})
	case "file":
		return t.takeFile(path, e, in)
	}
	return fmt.Errorf("an entry of type %.32q", e.Type)
}

func (t *receiver) takeFile(path string, e entry, in *decoder) error {
	if string(e.Path) != "." {
		// In a tree most files are new, and what is cut off is removed: the way over another name is for those that replace one.
		err := createFile(path, e, in)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if t.request.Append || t.request.InPlace {
		return t.writeInPlace(path, e, in)
	}
	old, err := os.Stat(path)
	if t.request.Follow && err == nil && !old.Mode().IsRegular() && !old.IsDir() {
		return t.writeInPlace(path, e, in)
	}
	if err == nil && t.request.Follow {
		f := factsOf(path, old)
		uid, gid := int(f.UID), int(f.GID)
		e.Mode, e.UID, e.GID = orElse(e.Mode, &f.Mode), orElse(e.UID, &uid), orElse(e.GID, &gid)
	}
	return replace(path, func(temporary string) error { return createFile(temporary, e, in) })
}

// createFile makes a file that is not there. ErrExist says that nothing was read of the stream.
func createFile(path string, e entry, in *decoder) error {
	file, err := makeFile(path)
	if err != nil {
		return err
	}
	err = receiveContent(file, in, true)
	if err == nil {
		mode := uint32(plainFileMode)
		e.Mode = orElse(e.Mode, &mode)
		err = file.apply(e)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// writeInPlace is for what must stay the file that it is: a log, a device, a mount.
func (t *receiver) writeInPlace(path string, e entry, in *decoder) error {
	flags := os.O_WRONLY | os.O_CREATE | unix.O_NONBLOCK
	if t.request.Append {
		flags |= os.O_APPEND
	} else {
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(path, flags, plainFileMode)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := receiveContent(file, in, false); err != nil {
		return err
	}
	return apply(path, e)
}

func orElse[T any](value, other *T) *T {
	if value == nil {
		return other
	}
	return value
}

// content is of the file that is written.
type content interface {
	io.WriteSeeker
	Truncate(size int64) error
}

// receiveContent writes the records of one file. Holes stay holes where the file was made for it.
func receiveContent(file content, in *decoder, sparse bool) error {
	size, written := int64(0), int64(0)
	for {
		kind, payload, err := in.next()
		if err != nil {
			return err
		}
		switch kind {
		case recordData:
			if _, err := file.Write(payload); err != nil {
				return err
			}
			size += int64(len(payload))
			written = size
		case recordHole:
			if !sparse || len(payload) != 8 {
				return errors.New("a hole where none can be")
			}
			size += int64(binary.BigEndian.Uint64(payload))
			if _, err := file.Seek(size, 0); err != nil {
				return err
			}
		case recordFinish:
			if size > written {
				return file.Truncate(size)
			}
			return nil
		default:
			return fmt.Errorf("a record %q in a file", kind)
		}
	}
}

// replace has something made beside its place, and puts it there. What fails leaves nothing.
func replace(path string, create func(temporary string) error) error {
	temporary := filepath.Join(filepath.Dir(path), ".smartvm-"+rand.Text())
	err := create(temporary)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}

func (t *receiver) finishDirectories() error {
	for _, e := range slices.Backward(t.directories) {
		if err := apply(filepath.Join(t.root, string(e.Path)), e); err != nil {
			return err
		}
	}
	return nil
}

// apply sets owner, mode and time, in that order: a change of the owner takes bits of the mode away.
func apply(path string, e entry) error {
	if e.UID != nil || e.GID != nil {
		if err := os.Lchown(path, idOr(e.UID), idOr(e.GID)); err != nil {
			return err
		}
	}
	if e.Mode != nil && e.Type != "symlink" {
		if err := pathError("chmod", path, unix.Chmod(path, *e.Mode&0o7777)); err != nil {
			return err
		}
	}
	if e.MtimeNs == nil {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(*e.MtimeNs)}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW)
	return pathError("utimensat", path, err)
}
