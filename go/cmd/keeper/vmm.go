package main

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/procid"
	"smartvm.dev/go/internal/reaper"
	"smartvm.dev/go/internal/ringlog"
	"smartvm.dev/go/internal/spawn"
)

const (
	// How long descendants of a VMM that is gone have to die of SIGKILL, and its pipes to run dry.
	orphanGrace = 2 * time.Second
	drainGrace  = 500 * time.Millisecond
)

type vmm struct {
	identity  spawn.Identity
	startedAt time.Time
	// None: the VMM has the host's view.
	jail    *confinement
	process *reaper.Process
	stdin   *os.File
	console *ringlog.Log
	log     *ringlog.Log
	// Its standard output and error.
	outputs [2]*os.File
	drained sync.WaitGroup
}

// adopt takes over a VMM that smartvm-launch has started, as this process's child.
func adopt(o spawn.Options) (*vmm, error) {
	born := o.Born
	children := reaper.New()
	v := &vmm{startedAt: born.StartedAt, process: children.Adopt(born.Pid)}
	// Before anything is reaped: a VMM that has died at once is still in /proc.
	v.identity = spawn.IdentityOf(born.Pid)
	go children.Run()
	v.stdin = inherited(born.Stdin)
	v.outputs = [2]*os.File{inherited(born.Stdout), inherited(born.Stderr)}
	if o.Jail != "" {
		jailed, err := confinementOf(o.Jail, born, v.process)
		if err != nil {
			v.abandon()
			return nil, err
		}
		v.jail = jailed
	}
	return v, nil
}

// inherited is our end of a pipe to the VMM, which nobody else is to have.
func inherited(fd int) *os.File {
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "pipe")
}

// drainInto keeps what the VMM says.
func (v *vmm) drainInto(console, log *ringlog.Log) {
	v.console, v.log = console, log
	for i, to := range []*ringlog.Log{console, log} {
		keepWaiting(v.outputs[i], to)
		v.drained.Go(func() {
			io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{v.outputs[i]}, make([]byte, 64<<10))
		})
	}
}

// keepWaiting keeps what a pipe holds: who is told that the keeper is there finds all that was said before.
func keepWaiting(output *os.File, to io.Writer) {
	pipe, err := output.SyscallConn()
	if err != nil {
		return
	}
	pipe.Read(func(fd uintptr) bool {
		buffer := make([]byte, 64<<10)
		if n, _ := unix.Read(int(fd), buffer); n > 0 {
			to.Write(buffer[:n])
		}
		return true
	})
}

// abandon ends a VMM for which there can be no keeper.
func (v *vmm) abandon() {
	v.process.Signal(unix.SIGKILL)
	<-v.process.Done()
	killOrphans(time.Now().Add(orphanGrace))
	if v.jail != nil {
		v.jail.release()
	}
}

type exitRecord struct {
	ExitCode *int    `json:"exitCode"`
	Signal   *string `json:"signal"`
	// Of the command with which the VM ended.
	CommandExitCode *int   `json:"commandExitCode,omitempty"`
	Reason          string `json:"reason"`
	StartedAt       string `json:"startedAt"`
	ExitedAt        string `json:"exitedAt"`
}

// finish clears up behind a VMM that has ended, closes its logs and answers exit.json's content.
func (v *vmm) finish(reason, consolePath string) []byte {
	exitedAt := time.Now()
	killOrphans(exitedAt.Add(orphanGrace))
	for _, output := range v.outputs {
		output.SetReadDeadline(time.Now().Add(drainGrace))
	}
	v.drained.Wait()
	v.console.Close()
	v.log.Close()
	v.stdin.Close()
	record := exitRecord{Reason: reason, StartedAt: isoTime(v.startedAt), ExitedAt: isoTime(exitedAt)}
	record.CommandExitCode = commandExitCode(consolePath)
	if status := v.process.Status(); status.Signaled() {
		name := unix.SignalName(status.Signal())
		record.Signal = &name
	} else {
		code := status.ExitStatus()
		record.ExitCode = &code
	}
	exit, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return append(exit, '\n')
}

// killOrphans ends what the VMM left behind, which the kernel has made our children: each that dies hands us its own.
func killOrphans(deadline time.Time) {
	for hasChildren() && time.Now().Before(deadline) {
		orphans, err := procid.Children(os.Getpid())
		if err != nil || len(orphans) == 0 {
			return
		}
		for _, pid := range orphans {
			// Ours to reap, so the number can't have passed to anyone but another of our children.
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// hasChildren is quick to say that there are none: to find out who they are takes a look at each process of the host.
func hasChildren() bool {
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err != unix.ECHILD
		}
	}
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
