package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"smartvm.dev/go/internal/atomicfile"
)

// States of a VM whose start is through.
const (
	running = "running"
	paused  = "paused"
)

// Why a VM ends that does not end by itself, as exit.json says it.
const (
	stopped     = "stopped"
	timeout     = "timeout"
	idleTimeout = "idle-timeout"
)

var (
	errStarting = errors.New("The VM is being started")
	errEnding   = errors.New("The VM is being stopped")
	errPaused   = errors.New("The VM is paused")
)

// status is what state.json has.
type status struct {
	State     string `json:"state"`
	ChangedAt string `json:"changedAt"`
	StartedAt string `json:"startedAt"`
	// For people: what decides is a clock that nobody sets.
	ExpiresAt     string `json:"expiresAt,omitempty"`
	OnExpiry      string `json:"onExpiry,omitempty"`
	IdleTimeoutMs int64  `json:"idleTimeoutMs,omitempty"`
}

type event struct {
	Time  string `json:"time"`
	Event string `json:"event"`
	// Of a deadline: which limit it was of, and what is done.
	Cause  string `json:"cause,omitempty"`
	Action string `json:"action,omitempty"`
	// Of an exit: what exit.json has.
	Exit json.RawMessage `json:"exit,omitempty"`
	*status
}

// life is what is known of a VM beside its VMM: whether its guest runs, and when it is to end.
type life struct {
	dir     string
	machine *machine
	events  *eventLog
	// Told once the time is up and the VM is to be stopped.
	over chan struct{}
	// Held by whoever looks at the VMM's state, or changes it.
	looking sync.Mutex

	mu sync.Mutex
	// None until the start is through.
	now *status
	// What state.json has.
	written   status
	ttl, idle alarm
	idleAfter time.Duration
	// How many say that they use the guest.
	holds int
	// Whether a limit has been reached at which the VM is paused, since it was last resumed; and whether that is still to do.
	isOver, pausing bool
	// Whether a program has said that it ends the VM. It may die over that, so the limits hold all the same.
	isStopping bool
	// Why the keeper is about to end the VM.
	ending string
}

func newLife(dir string) *life {
	l := &life{dir: dir, machine: newMachine(dir), events: newEventLog(), over: make(chan struct{}, 1)}
	l.ttl.ring = func() { l.timeUp(&l.ttl, timeout) }
	l.idle.ring = func() { l.timeUp(&l.idle, idleTimeout) }
	return l
}

// told takes the word of a program that the VM is running or paused. The first is that of the start, by which the limits
// begin. Words of different programs may overtake each other: later ones are taken for a reason to look.
func (l *life) told(word said) error {
	if first, err := l.start(word.State, word.limits); first {
		return err
	}
	l.goesOn(word)
	l.look(word.State)
	l.mu.Lock()
	defer l.mu.Unlock()
	if word.AfterSnapshot && l.isOver {
		l.pauseSoon()
	}
	return nil
}

// goesOn takes note, before the limits begin anew, of what a word ends.
func (l *life) goesOn(word said) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isStopping = false
	if word.State == running && !word.AfterSnapshot {
		l.isOver = false
	}
}

// look takes note of the state that the VMM has, or is said to have.
func (l *life) look(state string) {
	l.looking.Lock()
	defer l.looking.Unlock()
	if seen, err := l.machine.state(); err == nil {
		state = seen
	}
	l.become(state)
}

func (l *life) start(state string, limits limits) (first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		return false, nil
	}
	at := isoNow()
	l.now = &status{State: state, ChangedAt: at, StartedAt: at}
	if err := l.apply(limits); err != nil {
		l.now = nil
		return true, err
	}
	l.publish(event{Event: "start"})
	return true, nil
}

// become takes note of a state that was seen or made.
func (l *life) become(state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || l.now.State == state {
		return
	}
	l.now.State, l.now.ChangedAt = state, isoNow()
	l.watchIdle()
	name := "pause"
	if state == running {
		name = "resume"
	}
	l.publish(event{Event: name})
}

// limit sets those limits that are said anew, from now on.
func (l *life) limit(limits limits) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return errStarting
	}
	if l.ending != "" {
		return errEnding
	}
	if err := l.apply(limits); err != nil {
		return err
	}
	l.publish(event{Event: "limits"})
	return nil
}

func (l *life) apply(limits limits) error {
	if limits.OnTimeout != "" {
		l.now.OnExpiry = limits.OnTimeout
	}
	if limits.TimeoutMs.said {
		if err := l.ttl.set(limits.TimeoutMs.after); err != nil {
			return err
		}
		l.now.ExpiresAt = ""
		if limits.TimeoutMs.after > 0 {
			l.now.ExpiresAt = isoTime(time.Now().Add(limits.TimeoutMs.after))
		}
	}
	if limits.IdleTimeoutMs.said {
		l.idleAfter = limits.IdleTimeoutMs.after
		l.now.IdleTimeoutMs = l.idleAfter.Milliseconds()
		return l.watchIdle()
	}
	return nil
}

// watchIdle starts the idle clock anew, which runs while the guest does and nobody uses it.
func (l *life) watchIdle() error {
	if l.now == nil || l.now.State != running || l.holds > 0 {
		return l.idle.set(0)
	}
	return l.idle.set(l.idleAfter)
}

// hold counts somebody who uses the guest, until release.
func (l *life) hold() (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ending != "":
		return nil, errEnding
	case l.pausing || l.now != nil && l.now.State == paused:
		return nil, errPaused
	}
	l.holds++
	l.watchIdle()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.holds--
		l.watchIdle()
	}, nil
}

// stopping takes the word of a program that it ends the VM.
func (l *life) stopping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isStopping {
		l.isStopping = true
		l.publish(event{Event: "stop"})
	}
}

// reason is why the VM has ended, where it was not by itself.
func (l *life) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending == "" && l.isStopping {
		return stopped
	}
	return l.ending
}

// ended is told of the last that there is to tell.
func (l *life) ended(exit []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ttl.set(0)
	l.idle.set(0)
	l.events.add(event{Time: isoNow(), Event: "exit", Exit: json.RawMessage(exit)})
	l.events.close()
}

// standing is how it stands, and the number of the first event that is not part of it.
func (l *life) standing() (event, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return event{Time: isoNow(), Event: "state", status: l.copy()}, l.events.end()
}

// status is how it stands, as state.json has it.
func (l *life) status() *status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copy()
}

// copy is of what is known at the moment.
func (l *life) copy() *status {
	if l.now == nil {
		return nil
	}
	now := *l.now
	return &now
}

// publish writes down how it stands, where that has changed, and tells what has happened.
func (l *life) publish(what event) {
	if l.now != nil && *l.now != l.written {
		if err := atomicfile.WriteFleeting(filepath.Join(l.dir, "state.json"), jsonLine(l.now)); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-keeper: state.json:", err)
		} else {
			l.written = *l.now
		}
	}
	what.Time, what.status = isoNow(), l.copy()
	l.events.add(what)
}

func isoNow() string { return isoTime(time.Now()) }
