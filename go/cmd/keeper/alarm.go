package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings once at a point of CLOCK_BOOTTIME: no change of the host's time moves it, and it goes on while the host is
// suspended, for what a VM was given is time as people count it.
type alarm struct {
	// Called by a goroutine of its own; whether it is still due, isDue says.
	ring func()
	// A timerfd_create(2), once there was something to wait for.
	file *os.File
	// Since boot; 0: never.
	at time.Duration
}

// set makes it ring after some time from now; 0: never.
func (a *alarm) set(after time.Duration) error {
	a.at = 0
	if after > 0 {
		a.at = sinceBoot() + after
	}
	if a.file == nil {
		if after == 0 {
			return nil
		}
		fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			a.at = 0
			return os.NewSyscallError("timerfd_create", err)
		}
		a.file = os.NewFile(uintptr(fd), "timerfd")
		go a.wait()
	}
	// A point in the past rings at once, and one of 0 never.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(a.at.Nanoseconds())}
	return a.control(func(fd int) error { return unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil) })
}

// isDue is true from the point that was last set.
func (a *alarm) isDue() bool { return a.at > 0 && sinceBoot() >= a.at }

// remaining is the time that is left, if the alarm is set.
func (a *alarm) remaining() time.Duration { return a.at - sinceBoot() }

func (a *alarm) wait() {
	for expirations := make([]byte, 8); ; {
		if _, err := a.file.Read(expirations); err != nil {
			return
		}
		a.ring()
	}
}

// control is done on the descriptor without taking it away from the poller, as Fd would.
func (a *alarm) control(do func(fd int) error) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError("timerfd_settime", failed)
}

func sinceBoot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}
