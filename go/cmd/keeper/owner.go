package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is the program at the other end of stdin, which has made the VM. What it says there, each word a line of JSON, takes neither
// a connection nor an answer, and the end of it says that the program is gone.
type owner struct {
	// Takes a line.
	hear func(line []byte) error
	// Closed when the program is gone.
	gone chan struct{}
	// It has said that it will do nothing for its VM any more, which outlives it: it may be about to end.
	hasLetGo atomic.Bool
	// Held by whoever reads.
	reading sync.Mutex
	buffer  [maxLifeBody]byte
	// Of a line whose end has not come yet.
	rest  []byte
	ended bool
}

func newOwner(hear func(line []byte) error) *owner {
	return &owner{hear: hear, gone: make(chan struct{})}
}

// listen hears all that the owner says, until it is gone.
func (o *owner) listen() {
	defer close(o.gone)
	for !o.catchUp() {
		unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1)
	}
}

// catchUp hears what the owner has said by now. It is true when nothing more will come.
func (o *owner) catchUp() bool {
	o.reading.Lock()
	defer o.reading.Unlock()
	for !o.ended && isReadable(0) {
		n, err := syscall.Read(0, o.buffer[:])
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if n <= 0 {
			o.ended = true
			break
		}
		o.take(o.buffer[:n])
	}
	return o.ended
}

func (o *owner) take(text []byte) {
	o.rest = append(o.rest, text...)
	for {
		line, rest, isWhole := bytes.Cut(o.rest, []byte("\n"))
		if !isWhole {
			break
		}
		o.rest = rest
		// An empty one is the call for the keeper, which smartvm-launch has not read.
		if len(line) == 0 {
			continue
		}
		if err := o.hear(line); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-keeper: the owner's word:", err)
		}
	}
	if len(o.rest) > maxLifeBody {
		o.rest = nil // not a word
	}
}

func isReadable(fd int32) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: fd, Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// hear takes a word of the owner: a state, as PUT /state does, a signal for the VMM, as PUT /signal does, or its last. It says states
// here in whose way no VMM can be that is slow to answer: the first of all, and that it ends the VM.
func (a *api) hear(line []byte) error {
	var word struct {
		said
		Signal  string `json:"signal"`
		Release bool   `json:"release"`
	}
	if err := json.Unmarshal(line, &word); err != nil {
		return err
	}
	if word.Release {
		a.owner.hasLetGo.Store(true)
		return nil
	}
	if number := unix.SignalNum(word.Signal); number != 0 {
		return a.vmm.signal(number)
	}
	if err := word.said.check(); err != nil || word.State == "" {
		return fmt.Errorf("%.256q is neither a state nor a signal (%v)", line, err)
	}
	return a.take(word.said)
}
