package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxOrderBytes = 1 << 20
	// An owner that never calls the keeper has one nonetheless.
	callTimeout = time.Second
)

// await reads what is to be started: a line of JSON on standard input. An owner starts us ahead of the moment at which it knows,
// so that we have begun by then. One that goes before it has said it has nothing to be kept.
func (o *Options) await() error {
	line, err := readLine(0)
	if err != nil {
		return err
	}
	if line == nil {
		os.Exit(0)
	}
	order := struct {
		Jail string   `json:"jail"`
		Argv []string `json:"argv"`
	}{}
	if err := json.Unmarshal(line, &order); err != nil {
		return fmt.Errorf("the order on standard input: %w", err)
	}
	if len(order.Argv) == 0 {
		return errors.New("the VMM's command line is missing: in the order on standard input, or after --")
	}
	o.Jail, o.Argv = order.Jail, order.Argv
	return nil
}

// awaitCall waits until the owner wants the keeper, with a second line, or is gone, or the VMM is: to become it takes the CPU that the
// VMM's own beginning needs. What is not read is the keeper's to see.
func awaitCall(vmm int) {
	pidfd, err := unix.PidfdOpen(vmm, 0)
	if err != nil {
		return // Linux before 5.3: nothing would say that the VMM has ended
	}
	defer unix.Close(pidfd)
	fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(callTimeout); time.Now().Before(deadline); {
		if _, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds())+1); err != unix.EINTR {
			break
		}
	}
}

// readLine reads a line behind which nothing is written before it has been answered; nil at the end of the file.
func readLine(fd int) ([]byte, error) {
	line := make([]byte, 0, 4096)
	for buffer := make([]byte, 4096); len(line) <= maxOrderBytes; {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		case err != nil:
			return nil, os.NewSyscallError("read", err)
		case n == 0:
			return nil, nil
		case buffer[n-1] == '\n':
			return append(line, buffer[:n-1]...), nil
		default:
			line = append(line, buffer[:n]...)
		}
	}
	return nil, fmt.Errorf("the order on standard input is over %d bytes", maxOrderBytes)
}
