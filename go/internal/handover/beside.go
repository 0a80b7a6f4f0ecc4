package handover

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The states of a handover.
const (
	Starting = "starting"
	Up       = "up"
	Missed   = "missing"
	Failed   = "failed"
)

// Status is how far a handover is.
type Status struct {
	// Path is the init's.
	Path  string `json:"path,omitempty"`
	State string `json:"state"`
	// LookedFor are the paths at which there is none.
	LookedFor []string `json:"lookedFor,omitempty"`
	// Why is the reason of a failure.
	Why string `json:"why,omitempty"`
}

// Beside is the agent's side of a handover.
type Beside struct {
	socket *net.UnixConn
	init   *Init

	mu     sync.Mutex
	status Status
	// Closed when the status is final.
	settled chan struct{}
}

// Attach takes up the connection to PID 1 that Serve has given this process. What this process starts, and what becomes of that, is its
// own to reap.
func Attach() (*Beside, error) {
	unix.CloseOnExec(socketFD)
	socket, err := connection(socketFD)
	if err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	return &Beside{socket: socket, status: Status{State: Starting}, settled: make(chan struct{})}, nil
}

// Find looks for the init in the root file system. Nil is none, which the status then says.
func (b *Beside) Find() *Init {
	if b.init = Find(); b.init == nil {
		b.settle(Status{State: Missed, LookedFor: Paths})
	}
	return b.init
}

// Begin has PID 1 execute the init in this process's root. It returns when PID 1 has, or could not, which the status then says.
func (b *Beside) Begin() error {
	root, err := os.Open("/")
	if err != nil {
		return err
	}
	defer root.Close()
	env := os.Environ()
	if b.init.IsSystemd {
		if err := b.listen(notifyAddress); err != nil {
			return err
		}
		env = append(env, "NOTIFY_SOCKET="+notifyAddress)
	}
	b.mu.Lock()
	b.status.Path = b.init.Path
	b.mu.Unlock()
	text, err := json.Marshal(order{Path: b.init.Path, Env: env})
	if err != nil {
		return err
	}
	if _, _, err := b.socket.WriteMsgUnix(text, unix.UnixRights(int(root.Fd())), nil); err != nil {
		return err
	}
	// The connection ends with the program that had its other end.
	var answer [1024]byte
	n, err := b.socket.Read(answer[:])
	switch {
	case n > 0:
		b.settle(Status{Path: b.init.Path, State: Failed, Why: string(answer[:n])})
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	if !b.init.IsSystemd {
		go func() {
			awaitQuiet("/proc/1/stat")
			b.up()
		}()
	}
	return nil
}

func (b *Beside) up() { b.settle(Status{Path: b.init.Path, State: Up}) }

func (b *Beside) settle(status Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status.State == Starting {
		b.status = status
		close(b.settled)
	}
}

// Settled answers how the handover ended, once it has.
func (b *Beside) Settled() Status {
	<-b.settled
	return b.Now()
}

// Now is how far the handover is.
func (b *Beside) Now() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}
