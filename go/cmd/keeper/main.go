// Command smartvm-keeper is the parent of one VMM: it keeps the console in bounded files and feeds it, answers on a
// control socket for as long as it lives, ends the VMM when its owner is gone or its time is up, and writes down how it ended.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/atomicfile"
	"smartvm.dev/go/internal/ringlog"
	"smartvm.dev/go/internal/spawn"
)

const (
	vmmLogLimit = 256 << 10
	// How long a VMM has between SIGTERM and SIGKILL.
	termGrace = time.Second
	// How long readers have for their last answers once the VMM is gone.
	answerGrace = time.Second
	// How long a program that has let go of its VM has for its own end, before what is left of the VM stays for the next program:
	// less than that waits for a keeper to go.
	ownerGrace = 4 * time.Second
)

func main() {
	if err := run(); err != nil {
		spawn.Announce(err)
		os.Exit(1)
	}
}

func run() error {
	o, err := spawn.Parse(os.Args[1:])
	if err != nil {
		return err
	}
	if o.Born == nil {
		return errors.New("there is no VMM to keep: run smartvm-launch, which starts one")
	}
	term := catchSignals()
	vmm, err := adopt(o)
	if err != nil {
		return err
	}
	// What the VMM says meanwhile waits in its pipes.
	listener, err := settle(o, vmm)
	if err != nil {
		vmm.abandon()
		return err
	}
	keep(o, vmm, serve(listener, o.ID, vmm, newLife(o.Dir)), term)
	return nil
}

// settle opens what a keeper keeps for its VMM: the logs, and the control socket.
func settle(o spawn.Options, vmm *vmm) (net.Listener, error) {
	console, err := ringlog.Open(filepath.Join(o.Dir, consoleLog), o.ConsoleLimit)
	if err != nil {
		return nil, err
	}
	log, err := ringlog.Open(filepath.Join(o.Dir, "vmm.log"), vmmLogLimit)
	if err != nil {
		return nil, err
	}
	listener, err := listen(filepath.Join(o.Dir, "keeper.sock"))
	if err != nil {
		return nil, err
	}
	vmm.drainInto(console, log)
	return listener, nil
}

// catchSignals catches what must not end the keeper, rather than ignoring it: the VMM would inherit an ignored signal.
func catchSignals() <-chan os.Signal {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	return term
}

// keep stays until the VMM has ended and everyone who asked knows.
func keep(o spawn.Options, vmm *vmm, api *api, term <-chan os.Signal) {
	go api.owner.listen()
	gone := api.owner.gone
	replaceByNull(1) // its reader sees the end
	isOrphan := false
	var kill <-chan time.Time
	for running := true; running; {
		select {
		case <-api.detach:
			gone = nil
		case <-gone:
			isOrphan, gone = true, nil
			vmm.signal(unix.SIGTERM)
			kill = time.After(termGrace)
		case <-term:
			vmm.signal(unix.SIGTERM)
			kill = time.After(termGrace)
		case <-api.life.over:
			go api.life.end(vmm)
		case <-kill:
			vmm.process.Signal(unix.SIGKILL)
		case <-vmm.process.Done():
			running = false
		}
	}
	exit := vmm.finish(reasonOf(api.life, isOrphan), filepath.Join(o.Dir, consoleLog))
	if err := atomicfile.Write(filepath.Join(o.Dir, "exit.json"), exit); err != nil {
		fmt.Fprintln(os.Stderr, "smartvm-keeper: exit.json:", err)
	}
	if vmm.jail != nil {
		if err := vmm.jail.release(); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-keeper:", err)
		}
	}
	api.finish(exit)
	isLeft := func() bool {
		api.owner.catchUp() // what it has said before the VMM's end counts, and what it says behind that it sees to itself
		return api.owner.hasLetGo.Load() && closes(api.owner.gone, ownerGrace)
	}
	if err := clearUp(o.Dir, isOrphan, isLeft); err != nil {
		fmt.Fprintln(os.Stderr, "smartvm-keeper:", err)
	}
}

func reasonOf(life *life, isOrphan bool) string {
	if reason := life.reason(); reason != "" {
		return reason
	}
	if isOrphan {
		return "owner-gone"
	}
	return "exited"
}

func closes(channel <-chan struct{}, within time.Duration) bool {
	select {
	case <-channel:
		return true
	case <-time.After(within):
		return false
	}
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
