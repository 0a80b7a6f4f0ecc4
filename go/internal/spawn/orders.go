package spawn

import (
	"encoding/json"
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

// order is the line of JSON by which an owner says what is to be started. It spawns us ahead of the moment at which it knows, so that
// we have begun by then; its directory and environment may have changed since.
type order struct {
	ID   string            `json:"id"`
	Dir  string            `json:"dir"`
	Jail string            `json:"jail"`
	Cwd  string            `json:"cwd"`
	Env  map[string]string `json:"env"`
	Argv []string          `json:"argv"`
}

// awaitOrder reads the order from standard input. An owner that goes before it has given one has nothing to be kept.
func awaitOrder() (Options, error) {
	line, err := readLine(0)
	if err != nil {
		return Options{}, err
	}
	if line == nil {
		os.Exit(0)
	}
	var said order
	if err := json.Unmarshal(line, &said); err != nil {
		return Options{}, fmt.Errorf("the order on standard input: %w", err)
	}
	if said.Cwd != "" {
		if err := os.Chdir(said.Cwd); err != nil {
			return Options{}, err
		}
	}
	os.Clearenv()
	for name, value := range said.Env {
		os.Setenv(name, value)
	}
	o := Options{ID: said.ID, Dir: said.Dir, Jail: said.Jail, ConsoleLimit: defaultConsoleLimit, Argv: said.Argv}
	return o.checked()
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
