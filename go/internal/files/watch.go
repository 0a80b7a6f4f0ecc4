package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const watchedChanges = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_EXCL_UNLINK

// watchEvent is a line of the answer. Path is absolute.
type watchEvent struct {
	Kind string `json:"kind"`
	Path []byte `json:"path,omitempty"`
	// Cookie is the same of the two events of one rename.
	Cookie uint32 `json:"cookie,omitempty"`
}

type watcher struct {
	*Request
	session Session
	file    *os.File
	fd      int
	paths   map[int32]string
}

// watch answers a line for each change. A client that does not read holds this up, and the kernel then drops events, which is told.
func watch(r *Request, s Session) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	w := &watcher{Request: r, session: s, file: os.NewFile(uintptr(fd), "inotify"), fd: fd, paths: map[int32]string{}}
	defer w.file.Close()
	if err := w.add(string(r.Path), false); err != nil {
		return err
	}
	if err := answer(s.Out, watchEvent{Kind: "ready"}); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.Closed:
			w.file.Close() // which ends the read below
		case <-done:
		}
	}()
	for buffer := make([]byte, 64<<10); ; {
		n, err := w.file.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if over, err := w.tell(buffer[:n]); over || err != nil {
			return err
		}
	}
}

// add watches a directory or file, with what is below it if that is asked for. What is there already in a new directory is told of, for it may
// have been made before the directory was watched.
func (w *watcher) add(path string, isNew bool) error {
	id, err := unix.InotifyAddWatch(w.fd, path, watchedChanges)
	if err != nil {
		return pathError("watch", path, err)
	}
	w.paths[int32(id)] = path
	if !w.Recursive {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil // a file, or gone
	}
	for _, entry := range entries {
		child := filepath.Join(path, entry.Name())
		if isNew {
			if err := answer(w.session.Out, watchEvent{Kind: "create", Path: []byte(child)}); err != nil {
				return err
			}
		}
		if entry.IsDir() {
			if err := w.add(child, isNew); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// tell passes on what the kernel says. It is over when what is watched has gone.
func (w *watcher) tell(events []byte) (over bool, err error) {
	for len(events) >= unix.SizeofInotifyEvent {
		id := int32(binary.NativeEndian.Uint32(events))
		mask, cookie := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[8:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00"))
		events = events[end:]
		if over, err := w.tellOne(id, mask, cookie, name); over || err != nil {
			return over, err
		}
	}
	return false, nil
}

func (w *watcher) tellOne(id int32, mask, cookie uint32, name string) (over bool, err error) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return false, answer(w.session.Out, watchEvent{Kind: "overflow"})
	}
	dir, ok := w.paths[id]
	if !ok {
		return false, nil
	}
	isTop := dir == string(w.Path)
	if mask&unix.IN_IGNORED != 0 {
		delete(w.paths, id)
		return isTop, nil
	}
	if mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0 {
		if !isTop {
			return false, nil // its directory tells
		}
		return true, answer(w.session.Out, watchEvent{Kind: "remove", Path: []byte(dir)})
	}
	path := filepath.Join(dir, name)
	event := watchEvent{Kind: kindOf(mask), Path: []byte(path), Cookie: cookie}
	if err := answer(w.session.Out, event); err != nil {
		return false, err
	}
	if w.Recursive && mask&unix.IN_ISDIR != 0 {
		return false, w.follow(path, mask)
	}
	return false, nil
}

// follow keeps the watched directories those below the top.
func (w *watcher) follow(path string, mask uint32) error {
	switch {
	case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		// Of what came from elsewhere, the content is not new.
		if err := w.add(path, mask&unix.IN_CREATE != 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case mask&unix.IN_MOVED_FROM != 0:
		for id, watched := range w.paths {
			if watched == path || strings.HasPrefix(watched, path+"/") {
				unix.InotifyRmWatch(w.fd, uint32(id))
				delete(w.paths, id)
			}
		}
	}
	return nil
}

func kindOf(mask uint32) string {
	switch {
	case mask&unix.IN_CREATE != 0:
		return "create"
	case mask&unix.IN_DELETE != 0:
		return "remove"
	case mask&unix.IN_MODIFY != 0:
		return "modify"
	case mask&unix.IN_MOVED_FROM != 0:
		return "move-from"
	case mask&unix.IN_MOVED_TO != 0:
		return "move-to"
	}
	return "attributes"
}
