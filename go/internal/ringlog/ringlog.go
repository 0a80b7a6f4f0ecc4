// Package ringlog keeps the newest bytes of an endless stream in two files, and lets readers follow it.
package ringlog

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Log keeps the stream's newest bytes in PATH and, before those, PATH.1. Positions count from the stream's first byte.
type Log struct {
	path string
	half int64

	mu      sync.Mutex
	current *os.File
	old     *os.File
	// The stream's positions at which old and current begin, and the one behind the last byte kept.
	oldStart, start, end int64
	closed               bool
	grown                chan struct{}
}

// Open begins an empty log, mode 0600, whose two files hold at most limit bytes together.
func Open(path string, limit int64) (*Log, error) {
	if err := os.Remove(path + ".1"); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	current, err := create(path)
	if err != nil {
		return nil, err
	}
	return &Log{path: path, half: max(limit/2, 1), current: current, grown: make(chan struct{})}, nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
}

// Write never fails: bytes that the disk does not take are lost, for the writer of the stream must not be held up.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := data; len(rest) > 0 && !l.closed; {
		room := l.half - (l.end - l.start)
		if room <= 0 {
			if l.rotate() != nil {
				break
			}
			continue
		}
		n, err := l.current.WriteAt(rest[:min(int64(len(rest)), room)], l.end-l.start)
		l.end += int64(n)
		rest = rest[n:]
		if err != nil {
			break
		}
	}
	l.wake()
	return len(data), nil
}

func (l *Log) rotate() error {
	if err := os.Rename(l.path, l.path+".1"); err != nil && !os.IsNotExist(err) {
		return err
	}
	next, err := create(l.path)
	if err != nil {
		return err
	}
	if l.old != nil {
		l.old.Close()
	}
	l.old, l.oldStart = l.current, l.start
	l.current, l.start = next, l.end
	return nil
}

func (l *Log) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// Close ends the stream: readers get what is kept, then io.EOF.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// Reader reads the stream from the oldest byte kept. It skips what has been dropped since.
type Reader struct {
	log      *Log
	position int64
}

// NewReader begins at the oldest byte kept.
func (l *Log) NewReader() *Reader { return &Reader{log: l} }

// NewTailReader begins at the last lines, at most so many of those kept. One that has not ended yet is a line.
func (l *Log) NewTailReader(lines int) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	buffer := make([]byte, 32<<10)
	position := l.end
	for lines > 0 && position > l.oldStart {
		chunk := buffer[:min(int64(len(buffer)), position-l.oldStart)]
		n, err := l.readBefore(chunk, position)
		if err != nil {
			break
		}
		for i := n - 1; i >= 0; i-- {
			at := position - int64(n-i)
			// The line feed at the very end ends the last line and begins none.
			if chunk[i] != '\n' || at == l.end-1 {
				continue
			}
			if lines--; lines == 0 {
				return &Reader{log: l, position: at + 1}
			}
		}
		position -= int64(n)
	}
	return &Reader{log: l, position: position}
}

// readBefore reads what stands right before a position, from one of the two files.
func (l *Log) readBefore(buffer []byte, position int64) (int, error) {
	file, begin := l.current, l.start
	if position <= l.start {
		file, begin = l.old, l.oldStart
	}
	n := min(int64(len(buffer)), position-begin)
	return file.ReadAt(buffer[:n], position-begin-n)
}

// Next fills buffer with what is there. With nothing there it answers 0 and a channel that closes when the log has
// changed, or io.EOF at the end of a closed log.
func (r *Reader) Next(buffer []byte) (int, <-chan struct{}, error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	r.position = max(r.position, l.oldStart)
	if r.position >= l.end {
		if l.closed {
			return 0, nil, io.EOF
		}
		return 0, l.grown, nil
	}
	file, begin, end := l.current, l.start, l.end
	if r.position < l.start {
		file, begin, end = l.old, l.oldStart, l.start
	}
	n, err := file.ReadAt(buffer[:min(int64(len(buffer)), end-r.position)], r.position-begin)
	r.position += int64(n)
	if n > 0 {
		err = nil
	}
	return n, nil, err
}
