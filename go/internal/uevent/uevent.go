// Package uevent receives the kernel's messages about devices (lib/kobject_uevent.c).
package uevent

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's own multicast group; group 2 is udev's.
const kernelGroup = 1

// Conn is a subscription.
type Conn struct{ fd int }

// Event holds a message's variables: ACTION, SUBSYSTEM, MODALIAS and so on.
type Event map[string]string

// Listen subscribes to the events from now on.
func Listen() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &Conn{fd}, nil
}

// Next waits for an event. It answers an empty one when the kernel had to drop some.
func (c *Conn) Next() (Event, error) { return c.receive(0) }

// Pending answers the next event that has come already, or nil.
func (c *Conn) Pending() (Event, error) {
	event, err := c.receive(unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		return nil, nil
	}
	return event, err
}

func (c *Conn) receive(flags int) (Event, error) {
	buffer := make([]byte, 8<<10)
	for {
		n, from, err := unix.Recvfrom(c.fd, buffer, flags)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOBUFS:
			return Event{}, nil
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		}
		// Only the kernel has port id 0: a process of the guest could send such messages too.
		if sender, ok := from.(*unix.SockaddrNetlink); ok && sender.Pid == 0 {
			return parse(string(buffer[:n])), nil
		}
	}
}

func parse(message string) Event {
	event := Event{}
	for variable := range strings.SplitSeq(message, "\x00") {
		if name, value, ok := strings.Cut(variable, "="); ok {
			event[name] = value
		}
	}
	return event
}
