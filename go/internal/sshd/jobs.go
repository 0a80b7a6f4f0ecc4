package sshd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/outring"
	"smartvm.dev/go/internal/reaper"
)

const (
	// Most spawned processes that run at a time, and that are remembered when they have ended.
	maxJobs      = 256
	maxEndedJobs = 32
	// What a process has printed is kept up to this size.
	ringBytes = 256 << 10
	// Of an argument vector, this much is told to those who ask.
	maxToldArgv = 4 << 10
)

// job is a spawned process: it is listed, and others than the one who spawned it can reach it.
type job struct {
	process *reaper.Process
	streams *streams
	output  *outring.Ring
	facts   jobFacts
}

// jobFacts is what is told of a job.
type jobFacts struct {
	PID  int      `json:"pid"`
	Argv []string `json:"argv"`
	Cwd  string   `json:"cwd"`
	User string   `json:"user"`
	// StartedAt is in milliseconds since 1970, by the guest's clock.
	StartedAt int64 `json:"startedAt"`
	// Outlives says that it does not end with the session that spawned it.
	Outlives bool `json:"outlives"`
	// One of both is there once it has ended.
	ExitCode *int   `json:"exitCode,omitempty"`
	Signal   string `json:"signal,omitempty"`
}

// jobs are the processes that run, and the last that have ended of those that outlive their session.
type jobs struct {
	mu    sync.Mutex
	byPID map[int]*job
	// The oldest first.
	ended []*job
}

// hasRoom is whether another may start.
func (t *jobs) hasRoom() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byPID)-len(t.ended) < maxJobs
}

// add takes on a process that has just started, with its first reader.
func (t *jobs) add(process *reaper.Process, streams *streams, c *command) (*job, *outring.Reader) {
	j := &job{process: process, streams: streams, output: outring.New(ringBytes), facts: jobFacts{
		PID: process.Pid, Argv: told(c.argv), Cwd: c.dir, User: c.user.Name,
		StartedAt: time.Now().UnixMilli(), Outlives: c.spawned.Outlives,
	}}
	reader, _ := j.output.NewReader()
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.byPID[process.Pid]; old != nil {
		// The number has come around.
		t.forget(old)
	}
	t.byPID[process.Pid] = j
	go t.follow(j)
	return j, reader
}

func told(argv []string) []string {
	left := maxToldArgv
	for i, argument := range argv {
		if left -= len(argument) + 1; left < 0 {
			return argv[:i]
		}
	}
	return argv
}

// follow keeps what a job prints until it has ended.
func (t *jobs) follow(j *job) {
	var outputs sync.WaitGroup
	outputs.Go(func() { pump(j.output.Writer(streamOut), j.streams.stdout) })
	if j.streams.stderr != nil {
		outputs.Go(func() { pump(j.output.Writer(streamErr), j.streams.stderr) })
	}
	<-j.process.Done()
	j.streams.endInput()
	j.streams.endOutput()
	outputs.Wait()
	j.streams.closeOurs()
	j.output.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if status := j.process.Status(); status.Signaled() {
		j.facts.Signal = signalName(status.Signal())
	} else {
		code := status.ExitStatus()
		j.facts.ExitCode = &code
	}
	if t.byPID[j.facts.PID] != j {
		return
	}
	if !j.facts.Outlives {
		delete(t.byPID, j.facts.PID)
		return
	}
	if t.ended = append(t.ended, j); len(t.ended) > maxEndedJobs {
		t.forget(t.ended[0])
	}
}

func (t *jobs) forget(j *job) {
	delete(t.byPID, j.facts.PID)
	t.ended = slices.DeleteFunc(t.ended, func(ended *job) bool { return ended == j })
}

// open finds a job, and lets one read what is kept of its output and what comes.
func (t *jobs) open(pid int) (j *job, reader *outring.Reader, facts jobFacts, dropped int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j = t.byPID[pid]; j == nil {
		return nil, nil, jobFacts{}, 0
	}
	reader, dropped = j.output.NewReader()
	return j, reader, j.facts, dropped
}

// list answers the verb `processes`: all jobs, in the order of their numbers.
func (t *jobs) list([]byte) ([]byte, func(), error) {
	t.mu.Lock()
	all := make([]jobFacts, 0, len(t.byPID))
	for _, j := range t.byPID {
		all = append(all, j.facts)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b jobFacts) int { return a.PID - b.PID })
	reply, err := json.Marshal(map[string]any{"processes": all})
	return reply, nil, err
}

// signal answers the verb `signal`: it signals a job's process group, by any name that Linux has for a signal.
func (t *jobs) signal(payload []byte) ([]byte, func(), error) {
	var request struct {
		PID    int    `json:"pid"`
		Signal string `json:"signal"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, nil, err
	}
	number := unix.SignalNum("SIG" + request.Signal)
	if number == 0 {
		return nil, nil, fmt.Errorf("there is no signal %.16q", request.Signal)
	}
	t.mu.Lock()
	j := t.byPID[request.PID]
	t.mu.Unlock()
	var err error = syscall.ESRCH
	if j != nil {
		err = j.process.SignalGroup(number)
	}
	reply, _ := json.Marshal(map[string]bool{"signaled": err == nil})
	return reply, nil, nil
}

var errFull = errors.New("the guest has as many spawned processes as it may have")
