package sshd

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/passwd"
)

const (
	pumpBuffer = 32 << 10
	// At most this much of what is in a pipe is passed on once the process has ended: one that it left behind may go on
	// writing for ever. Pipes hold 64 KiB unless told otherwise, and 1 MiB at most (/proc/sys/fs/pipe-max-size).
	maxDrain = 1 << 20
)

// streams are both ends of a process's standard streams. With a terminal, stdin and stdout are the same file.
type streams struct {
	stdin, stdout, stderr *os.File
	terminal              bool
	theirs                []int
	once                  sync.Once
}

// opener makes the streams of a process that is about to start.
type opener func(*syscall.ProcAttr, passwd.User) (*streams, error)

func openPipes(attr *syscall.ProcAttr, _ passwd.User) (*streams, error) {
	s := &streams{}
	for fd, ours := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			s.closeTheirs()
			s.closeOurs()
			return nil, os.NewSyscallError("pipe2", err)
		}
		our, their := ends[0], ends[1]
		if fd == 0 {
			our, their = their, our
		}
		// Non-blocking on our side alone: the poller then watches it.
		unix.SetNonblock(our, true)
		*ours = os.NewFile(uintptr(our), "pipe")
		s.theirs = append(s.theirs, their)
		attr.Files = append(attr.Files, uintptr(their))
	}
	return s, nil
}

func (s *session) openTerminal(attr *syscall.ProcAttr, user passwd.User) (*streams, error) {
	opened, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	defer slave.Close()
	slave.Chown(int(user.UID), -1)
	// Package pty has made both ends blocking. Programs expect that of their terminal, but our end is to be polled.
	their, err := unix.FcntlInt(slave.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	our, err := unix.FcntlInt(opened.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(their)
		return nil, os.NewSyscallError("fcntl", err)
	}
	unix.SetNonblock(our, true)
	s.terminal = os.NewFile(uintptr(our), opened.Name())
	setWindow(s.terminal, s.window)
	attr.Files = []uintptr{uintptr(their), uintptr(their), uintptr(their)}
	attr.Sys.Setctty = true
	return &streams{stdin: s.terminal, stdout: s.terminal, terminal: true, theirs: []int{their}}, nil
}

// setWindow does what pty.Setsize does, without making the terminal blocking.
func setWindow(terminal *os.File, window *unix.Winsize) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, window) })
	return errors.Join(err, ioctlErr)
}

func (s *streams) closeTheirs() {
	for _, fd := range s.theirs {
		unix.Close(fd)
	}
	s.theirs = nil
}

func (s *streams) closeOurs() {
	for _, file := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if file != nil {
			file.Close()
		}
	}
}

// feed passes the client's data on until its end. A terminal stays open then: it is the process's output too.
func (s *streams) feed(channel ssh.Channel) {
	io.CopyBuffer(struct{ io.Writer }{s.stdin}, channel, make([]byte, pumpBuffer))
	if !s.terminal {
		s.endInput()
	}
}

func (s *streams) endInput() {
	if !s.terminal {
		s.once.Do(func() { s.stdin.Close() })
	}
}

// endOutput makes the pumps end with what is there now.
func (s *streams) endOutput() {
	s.stdout.SetReadDeadline(time.Unix(1, 0))
	if s.stderr != nil {
		s.stderr.SetReadDeadline(time.Unix(1, 0))
	}
}

// pump copies until the end of from, or past its deadline what can be read without waiting. It reads no more than to,
// with the client's window, takes.
func pump(to io.Writer, from *os.File) {
	buffer := make([]byte, pumpBuffer)
	for {
		n, err := from.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	for drained := 0; drained < maxDrain; {
		n := 0
		raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buffer) })
		if n <= 0 {
			return
		}
		drained += n
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
