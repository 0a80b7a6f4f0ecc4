// Package handover gives PID 1 to the init of the guest's own image: the agent runs beside it, as a process that PID 1 starts
// before anything else, and that says what to execute in which root once the guest is ready for it.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// Name is what the agent is called beside an init. By the first letter systemd knows what it shall not kill before the
	// machine stops: see its ROOT_STORAGE_DAEMONS. The host loses the guest no earlier than that.
	Name = "@smartvm-agent"
	// Argument is the command line that has the program be the agent.
	Argument = "beside"
	// The file descriptor of the agent's end of the connection to PID 1.
	socketFD = 3
	// An order is a path and an environment.
	maxOrderBytes = 64 << 10
)

// order is what PID 1 is to execute. The root directory comes with it.
type order struct {
	Path string   `json:"path"`
	Env  []string `json:"env"`
}

// Serve is the rest of PID 1's life as this program: it starts the agent, and executes what that orders. It returns only with why
// there can be no init.
func Serve() error {
	socket, err := startAgent()
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	for {
		order, root, err := receive(socket)
		if err != nil {
			return fmt.Errorf("the agent has ended: %w", err)
		}
		err = execute(order, root)
		if _, err := socket.Write([]byte(err.Error())); err != nil {
			return err
		}
	}
}

func startAgent() (*net.UnixConn, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	_, err = syscall.ForkExec("/proc/self/exe", []string{Name, Argument}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2, uintptr(ends[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	unix.Close(ends[1])
	if err != nil {
		return nil, err
	}
	return connection(ends[0])
}

func connection(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "handover")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	return socket, nil
}

func receive(socket *net.UnixConn) (*order, int, error) {
	text, control := make([]byte, maxOrderBytes), make([]byte, unix.CmsgSpace(4))
	n, controlBytes, _, _, err := socket.ReadMsgUnix(text, control)
	if err == nil && n == 0 {
		err = errors.New("it has hung up")
	}
	if err != nil {
		return nil, -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlBytes])
	if err != nil || len(messages) != 1 {
		return nil, -1, errors.Join(errors.New("an order without a root directory"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, -1, err
	}
	var o order
	return &o, fds[0], json.Unmarshal(text[:n], &o)
}

// execute gives this process another root and program. It returns with why it could not.
func execute(o *order, root int) error {
	defer unix.Close(root)
	if err := unix.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	// The kernel's own threads share this root: from now on they find their helpers in it.
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	// The words of the kernel's command line that are init's are so whoever that is.
	argv := append([]string{o.Path}, os.Args[1:]...)
	return &os.PathError{Op: "exec", Path: o.Path, Err: syscall.Exec(o.Path, argv, o.Env)}
}
