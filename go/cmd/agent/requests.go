package main

import (
	"encoding/json"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/boot"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/metrics"
	"smartvm.dev/go/internal/procid"
	"smartvm.dev/go/internal/sshd"
)

const (
	// How long processes have between SIGTERM and SIGKILL, and between SIGKILL and the end.
	termGrace = 2 * time.Second
	killGrace = time.Second
	// RNDADDENTROPY counts bits in an int; nobody needs more than the pool has.
	maxSeedBytes = 512
)

func (a *agent) requests() map[string]sshd.GlobalRequest {
	return map[string]sshd.GlobalRequest{
		"info@smartvm.dev":     info,
		"init@smartvm.dev":     a.initStatus,
		"clock@smartvm.dev":    clock,
		"network@smartvm.dev":  a.setNetwork,
		"metrics@smartvm.dev":  sample,
		"seed@smartvm.dev":     seed,
		"shutdown@smartvm.dev": a.shutdown,
	}
}

func info([]byte) ([]byte, func(), error) {
	bootID, err := procid.BootID()
	if err != nil {
		return nil, nil, err
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return nil, nil, err
	}
	reply, err := json.Marshal(struct {
		Protocol     int    `json:"protocol"`
		AgentVersion string `json:"agentVersion"`
		BootID       string `json:"bootId"`
		Kernel       string `json:"kernel"`
	}{guestconfig.Protocol, version, bootID, unix.ByteSliceToString(kernel.Release[:])})
	return reply, nil, err
}

func clock(payload []byte) ([]byte, func(), error) {
	var request struct {
		TimeMs int64 `json:"timeMs"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, nil, err
	}
	if request.TimeMs <= 0 {
		return nil, nil, fmt.Errorf("timeMs is %d", request.TimeMs)
	}
	return []byte("{}"), nil, boot.SetClock(request.TimeMs)
}

// seed mixes the host's random bytes into the pool: a guest out of a snapshot has its twin's.
func seed(payload []byte) ([]byte, func(), error) {
	var request struct {
		Seed []byte `json:"seed"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, nil, err
	}
	if len(request.Seed) > maxSeedBytes {
		return nil, nil, fmt.Errorf("a seed has at most %d bytes", maxSeedBytes)
	}
	return []byte("{}"), nil, boot.SeedRandom(request.Seed)
}

func sample([]byte) ([]byte, func(), error) {
	now, err := metrics.Read("/proc", "/")
	if err != nil {
		return nil, nil, err
	}
	reply, err := json.Marshal(now)
	return reply, nil, err
}

func (a *agent) shutdown(payload []byte) ([]byte, func(), error) {
	var request struct {
		Mode string `json:"mode"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, nil, err
	}
	commands := map[string]int{
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
	}
	command, ok := commands[request.Mode]
	if !ok {
		return nil, nil, fmt.Errorf("unknown mode %.16q", request.Mode)
	}
	// Who ends what runs has its own idea of how long that may take.
	reply, err := json.Marshal(map[string]string{"init": a.mode()})
	return reply, func() { a.end(command) }, err
}

// end begins the shutdown, once.
func (a *agent) end(command int) {
	select {
	case a.stop <- command:
	default:
		// It is shutting down already.
	}
}

// ended ends the VM with its command. The last line of the console tells the host how that ended, as a shell would say it.
func (a *agent) ended(status syscall.WaitStatus) {
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	fmt.Fprintf(console{}, "smartvm-agent: the command has ended with exit code %d\n", code)
	drainConsole()
	// A reboot, for a power-off does not end every VMM.
	a.end(unix.LINUX_REBOOT_CMD_RESTART)
}

// await waits for the order to shut down, and has it carried out. It returns with why it could not.
func (a *agent) await() error {
	for {
		command := unix.LINUX_REBOOT_CMD_RESTART
		select {
		case <-a.ctrlAltDel:
		case command = <-a.stop:
		}
		if a.beside == nil || !a.askInit(command) {
			return a.endMachine(command)
		}
	}
}

func (a *agent) endMachine(command int) error {
	unix.Kill(-1, unix.SIGTERM)
	if !a.childrenGone(termGrace) {
		unix.Kill(-1, unix.SIGKILL)
		a.childrenGone(killGrace)
	}
	if a.root != nil {
		a.root.Detach()
	}
	unix.Sync()
	if err := unix.Reboot(command); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	select {}
}

func (a *agent) childrenGone(within time.Duration) bool {
	select {
	case <-a.children.Childless():
		return true
	case <-time.After(within):
		return false
	}
}
