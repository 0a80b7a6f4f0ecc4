package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/boot"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/handover"
)

// handOver gives PID 1 to the init of the image. An image that has none, or one that cannot be executed, is the host's to judge: it can
// still ask.
func (a *agent) handOver() error {
	// In a kernel without control groups an init does without them too.
	warn(a.groups.Enter())
	warn(handover.Shelter(a.children))
	init := a.beside.Find()
	if init == nil {
		warn(errors.New(handover.Missing()))
		return nil
	}
	if init.IsSystemd {
		warn(boot.NoLogins("/run"))
	}
	warn(boot.KeepNetwork("/run", a.network.status.Interfaces))
	if err := a.beside.Begin(); err != nil {
		return fmt.Errorf("hand PID 1 to %s: %w", init.Path, err)
	}
	if status := a.beside.Now(); status.State == handover.Failed {
		warn(fmt.Errorf("the image's init cannot be executed: %s", status.Why))
	}
	return nil
}

// initStatus answers the verb `init` once it is known how the image's init has come up.
func (a *agent) initStatus([]byte) ([]byte, func(), error) {
	status := handover.Status{State: handover.Up}
	if a.beside != nil {
		status = a.beside.Settled()
	}
	reply, err := json.Marshal(struct {
		Init string `json:"init"`
		handover.Status
	}{a.mode(), status})
	return reply, nil, err
}

// mode is who PID 1 is, or is to be.
func (a *agent) mode() string {
	if a.beside != nil {
		return guestconfig.ImageInit
	}
	return guestconfig.AgentInit
}

// askInit has the image's init end the machine, as it does by itself: its services in their order, then everything else. What runs for
// the host gets no more time to end than where the agent is PID 1. False says that there is nobody to ask.
func (a *agent) askInit(command int) bool {
	if err := a.beside.End(command, a.children, a.groups); err != nil {
		warn(err)
		return false
	}
	a.groups.Signal(unix.SIGTERM)
	time.AfterFunc(termGrace, func() { a.groups.Signal(unix.SIGKILL) })
	return true
}
