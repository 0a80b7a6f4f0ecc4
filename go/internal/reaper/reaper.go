// Package reaper starts child processes and is the only one in the program that waits for any: it collects the exit
// statuses of the children that it started, and reaps the orphans that the kernel hands to an init or a subreaper.
package reaper

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper owns every child of this process. A program that runs one must not use os/exec beside it.
type Reaper struct {
	mu    sync.Mutex
	owned map[int]*Process
	chld  chan os.Signal
	// Closed when there is no child left, for those who wait for that.
	childless []chan struct{}
	around    func() (after func())
}

// Process is a child that a Reaper started.
type Process struct {
	Pid    int
	reaper *Reaper
	done   chan struct{}
	status syscall.WaitStatus
}

// New returns a Reaper that notices every child from now on. Run does its work.
func New() *Reaper {
	r := &Reaper{owned: map[int]*Process{}, chld: make(chan os.Signal, 1)}
	signal.Notify(r.chld, syscall.SIGCHLD)
	return r
}

// Run reaps until the program ends.
func (r *Reaper) Run() {
	for {
		r.reap()
		<-r.chld
	}
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.ECHILD {
			for _, waiter := range r.childless {
				close(waiter)
			}
			r.childless = nil
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := r.owned[pid]; p != nil {
			delete(r.owned, pid)
			p.status = status
			close(p.done)
		}
	}
}

// Childless answers a channel that closes when this process has no children, orphans included.
func (r *Reaper) Childless() <-chan struct{} {
	waiter := make(chan struct{})
	r.mu.Lock()
	r.childless = append(r.childless, waiter)
	r.mu.Unlock()
	r.reap()
	return waiter
}

// Around has a function run before each start, and what that gives behind it. It is to be called before the first.
func (r *Reaper) Around(do func() (after func())) { r.around = do }

// Start runs an executable. With attr.Sys.Pdeathsig the caller's thread must outlive the child.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
	// Held until the child is entered, so that reap cannot meet a child that it does not know yet.
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.around != nil {
		defer r.around()()
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	p := &Process{Pid: pid, reaper: r, done: make(chan struct{})}
	r.owned[pid] = p
	return p, nil
}

// Adopt takes on a child that this process has from before it executed its present program.
func (r *Reaper) Adopt(pid int) *Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &Process{Pid: pid, reaper: r, done: make(chan struct{})}
	r.owned[pid] = p
	return p
}

// Done is closed when the process has ended and its status is known.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is how the process ended; it is meaningful once Done is closed.
func (p *Process) Status() syscall.WaitStatus { return p.status }

// Signal sends sig to the process, or answers os.ErrProcessDone.
func (p *Process) Signal(sig syscall.Signal) error { return p.kill(p.Pid, sig) }

// SignalGroup sends sig to the process group that the process leads, or answers os.ErrProcessDone once the leader has
// been reaped: from then on the number may belong to someone else.
func (p *Process) SignalGroup(sig syscall.Signal) error { return p.kill(-p.Pid, sig) }

func (p *Process) kill(target int, sig syscall.Signal) error {
	p.reaper.mu.Lock()
	defer p.reaper.mu.Unlock()
	if p.reaper.owned[p.Pid] != p {
		return os.ErrProcessDone
	}
	return syscall.Kill(target, sig)
}
