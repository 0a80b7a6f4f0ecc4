// Package vport carries the host's vsock connections over a virtio-serial port, where the VMM has no vhost-vsock: each
// is a CONNECT stream of one HTTP/2 connection, whose client is the host.
package vport

import (
	"bufio"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel hands out a page at a time; this gathers a frame's header and body into one read.
const readBuffer = 32 << 10

// conn is a net.Conn over the port's device file, or over any file that can be polled.
type conn struct {
	*os.File
	raw    syscall.RawConn
	reader *bufio.Reader
	// Set once the host's side has been seen open: only then is an empty read the connection's end.
	joined bool
}

// openConn opens a device file of the directory dev.
func openConn(dev *os.File, name string) (*conn, error) {
	fd, err := unix.Openat(int(dev.Fd()), name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return newConn(os.NewFile(uintptr(fd), name))
}

func newConn(file *os.File) (*conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	c := &conn{File: file, raw: raw}
	c.reader = bufio.NewReaderSize(readerFunc(c.readPort), readBuffer)
	return c, nil
}

// awaitHost blocks until the host has sent something, without taking it.
func (c *conn) awaitHost() error {
	_, err := c.reader.Peek(1)
	return err
}

func (c *conn) Read(buffer []byte) (int, error) { return c.reader.Read(buffer) }

func (c *conn) readPort(buffer []byte) (int, error) {
	var n int
	var err error
	waitErr := c.raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), buffer)
			if err != unix.EINTR {
				break
			}
		}
		// An empty read says that the host's side is closed, EAGAIN that it is open (drivers/char/virtio_console.c).
		// The poller wakes us when that changes.
		wait := err == unix.EAGAIN || err == nil && n == 0 && !c.joined
		c.joined = c.joined || err == unix.EAGAIN || n > 0
		return !wait
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: c.Name(), Err: err}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *conn) LocalAddr() net.Addr  { return addr(c.Name()) }
func (c *conn) RemoteAddr() net.Addr { return addr("host") }

type addr string

func (addr) Network() string  { return "virtio-serial" }
func (a addr) String() string { return string(a) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(buffer []byte) (int, error) { return f(buffer) }
