// Command smartvm-keeper is the parent of one VMM: it keeps the console in bounded files and feeds it, answers on a
// control socket for as long as it lives, ends the VMM when its owner is gone, and writes down how the VMM ended.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/atomicfile"
	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/ringlog"
)

const (
	defaultConsoleLimit = 2 << 20
	minConsoleLimit     = 4 << 10
	vmmLogLimit         = 256 << 10
	// How long a VMM has between SIGTERM and SIGKILL.
	termGrace = time.Second
	// How long readers have for their last answers once the VMM is gone.
	answerGrace = time.Second
)

type options struct {
	id, dir      string
	jail         string
	consoleLimit int64
	detached     bool
	argv         []string
}

func init() {
	// The kernel delivers a parent-death signal when the thread that spawned the child ends. The main goroutine spawns
	// the VMM, and the main thread lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	if err := run(); err != nil {
		code := "KEEPER_FAILED"
		var spawn *spawnError
		var fault *jail.Fault
		if errors.As(err, &spawn) {
			code = jail.CommandUnspawned
		} else if errors.As(err, &fault) {
			code = fault.Code
		}
		announce(map[string]any{"error": map[string]string{"code": code, "message": err.Error()}})
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("smartvm-keeper", flag.ContinueOnError)
	flags.StringVar(&o.id, "id", "", "the VM's id")
	flags.StringVar(&o.dir, "dir", "", "the VM's runtime directory")
	flags.StringVar(&o.jail, "jail", "", "a file that describes the VMM's jail")
	flags.Int64Var(&o.consoleLimit, "console-limit", defaultConsoleLimit, "bytes of console output kept")
	flags.BoolVar(&o.detached, "detached", false, "outlive the owner")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.argv = flags.Args()
	switch {
	case o.id == "":
		return o, errors.New("--id is missing")
	case o.dir == "":
		return o, errors.New("--dir is missing")
	case len(o.argv) == 0:
		return o, errors.New("the VMM's command line is missing: write it after --")
	case o.consoleLimit < minConsoleLimit:
		return o, fmt.Errorf("--console-limit is %d, it must be at least %d", o.consoleLimit, minConsoleLimit)
	}
	dir, err := filepath.Abs(o.dir)
	o.dir = dir
	return o, err
}

func run() error {
	o, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	term := catchSignals()
	console, err := ringlog.Open(filepath.Join(o.dir, "console.log"), o.consoleLimit)
	if err != nil {
		return err
	}
	vmmLog, err := ringlog.Open(filepath.Join(o.dir, "vmm.log"), vmmLogLimit)
	if err != nil {
		return err
	}
	listener, err := listen(filepath.Join(o.dir, "keeper.sock"))
	if err != nil {
		return err
	}
	vmm, err := spawn(o, console, vmmLog)
	if err != nil {
		listener.Close()
		return err
	}
	keep(o, vmm, serve(listener, o.id, vmm), term)
	return nil
}

// catchSignals catches what must not end the keeper, rather than ignoring it: the VMM would inherit an ignored signal.
func catchSignals() <-chan os.Signal {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	return term
}

// keep stays until the VMM has ended and everyone who asked knows.
func keep(o options, vmm *vmm, api *api, term <-chan os.Signal) {
	gone := watchOwner(o.detached)
	announce(vmm.identity)
	reason := "exited"
	var kill <-chan time.Time
	for running := true; running; {
		select {
		case <-api.detach:
			gone = nil
		case <-gone:
			reason, gone = "owner-gone", nil
			vmm.signal(unix.SIGTERM)
			kill = time.After(termGrace)
		case <-term:
			vmm.signal(unix.SIGTERM)
			kill = time.After(termGrace)
		case <-kill:
			vmm.process.Signal(unix.SIGKILL)
		case <-vmm.process.Done():
			running = false
		}
	}
	exit := vmm.finish(reason)
	if err := atomicfile.Write(filepath.Join(o.dir, "exit.json"), exit); err != nil {
		fmt.Fprintln(os.Stderr, "smartvm-keeper: exit.json:", err)
	}
	if vmm.jail != nil {
		if err := vmm.jail.release(); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-keeper:", err)
		}
	}
	api.finish(exit)
	if reason == "owner-gone" {
		if err := removeOrphan(o.dir); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-keeper:", err)
		}
	}
}

// watchOwner answers a channel that closes when the other end of stdin is gone; a detached VM has no owner.
func watchOwner(detached bool) <-chan struct{} {
	if detached {
		replaceByNull(0)
		return nil
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for buffer := make([]byte, 512); ; {
			n, err := syscall.Read(0, buffer)
			if err == syscall.EAGAIN {
				unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1)
			} else if err != syscall.EINTR && n <= 0 {
				return
			}
		}
	}()
	return gone
}

// announce writes the one line of stdout and gives it up, so that its reader sees the end.
func announce(line any) {
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		fmt.Fprintln(os.Stderr, "smartvm-keeper: stdout:", err)
	}
	replaceByNull(1)
}

// replaceByNull keeps the number taken, for a file that got it would be someone's stdin or stdout.
func replaceByNull(fd int) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	unix.Dup3(null, fd, 0)
	unix.Close(null)
}
