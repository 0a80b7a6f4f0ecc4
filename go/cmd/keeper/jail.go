package main

import (
	"syscall"

	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/reaper"
	"smartvm.dev/go/internal/spawn"
)

// confinement is what a jailed VMM is shut in, and what it was lent on the host for that.
type confinement struct {
	spec *jail.Spec
	taps []jail.Tap
	view *jail.Running
}

func confinementOf(file string, born *spawn.Born, process *reaper.Process) (*confinement, error) {
	spec, err := jail.Read(file)
	if err != nil {
		return nil, err
	}
	alive := func() bool { return process.Signal(syscall.Signal(0)) == nil }
	return &confinement{spec: spec, taps: born.Taps, view: jail.NewRunning(spec, born.Pid, alive)}, nil
}

func (c *confinement) release() error { return spawn.Release(c.spec, c.taps) }
