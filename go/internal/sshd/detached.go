package sshd

import (
	"os"
	"sync"
	"syscall"

	"smartvm.dev/go/internal/passwd"
	"smartvm.dev/go/internal/reaper"
)

// What a session says when its detached process runs. It is open until the client closes it.
const startedLine = "started\n"

// detached says what becomes of a process that outlives its session.
type detached struct {
	// Console makes it print on the console. What it prints is dropped otherwise.
	Console bool `json:"console"`
	// EndsVM makes its end the VM's, though not before its session is closed.
	EndsVM bool `json:"endsVm"`
}

// runDetached starts a process and says so.
func (s *session) runDetached(c *command) error {
	open := openNull
	if c.detached.Console {
		open = openPipes
	}
	process, streams, err := s.spawn(c, open)
	if err != nil {
		return err
	}
	go s.follow(process, streams, c.detached)
	s.channel.Write([]byte(startedLine))
	return nil
}

// follow prints what the process prints until it has ended, then says how it did where that ends the VM.
func (s *session) follow(process *reaper.Process, streams *streams, d *detached) {
	options := s.server.options
	var outputs sync.WaitGroup
	if d.Console {
		streams.endInput()
		outputs.Go(func() { pump(options.Console, streams.stdout) })
		outputs.Go(func() { pump(options.Console, streams.stderr) })
	}
	<-process.Done()
	if d.Console {
		streams.endOutput()
		outputs.Wait()
	}
	streams.closeOurs()
	if d.EndsVM {
		<-s.closed
		options.Ended(process.Status())
	}
}

func openNull(attr *syscall.ProcAttr, _ passwd.User) (*streams, error) {
	null, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	attr.Files = []uintptr{uintptr(null), uintptr(null), uintptr(null)}
	return &streams{theirs: []int{null}}, nil
}
