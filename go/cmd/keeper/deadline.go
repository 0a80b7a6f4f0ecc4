package main

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// How long a guest has to end on Ctrl-Alt-Del.
	guestGrace = 10 * time.Second
	// A VMM that did not take the order to pause is asked again after this.
	pauseRetry = time.Second
)

// timeUp is called when an alarm rings, which somebody may have set anew in this moment.
func (l *life) timeUp(alarm *alarm, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !alarm.isDue() || l.ending != "" {
		return
	}
	alarm.set(0)
	if alarm == &l.ttl {
		l.now.ExpiresAt = "" // it is used up
	}
	if l.now.OnExpiry == "pause" {
		l.publish(event{Event: "deadline", Cause: cause, Action: "pause"})
		l.isOver = true
		l.pauseSoon()
		return
	}
	l.ending = cause
	l.publish(event{Event: "deadline", Cause: cause, Action: "stop"})
	l.over <- struct{}{}
}

func (l *life) pauseSoon() {
	if !l.pausing {
		l.pausing = true
		go l.pause()
	}
}

// pause pauses the VM, however long its VMM is busy with something else.
func (l *life) pause() {
	for l.tryPause() != nil {
		time.Sleep(pauseRetry)
	}
}

// tryPause pauses the VM. Whoever hears of that can have it paused again.
func (l *life) tryPause() error {
	l.looking.Lock()
	defer l.looking.Unlock()
	if err := l.machine.pause(); err != nil {
		// Somebody else may have paused it.
		if seen, _ := l.machine.state(); seen != paused {
			return err
		}
	}
	l.become(paused)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pausing = false
	return nil
}

// end ends the VMM, from the gentlest to the surest: its guest is asked, where it runs and has a keyboard; then itself.
func (l *life) end(vmm *vmm) {
	waits := func(grace time.Duration) bool {
		select {
		case <-vmm.process.Done():
			return true
		case <-time.After(grace):
			return false
		}
	}
	l.mu.Lock()
	asks := l.now.State == running
	l.mu.Unlock()
	if asks && l.machine.ctrlAltDel() == nil && waits(guestGrace) {
		return
	}
	vmm.signal(unix.SIGTERM)
	if !waits(termGrace) {
		vmm.process.Signal(unix.SIGKILL)
	}
}
