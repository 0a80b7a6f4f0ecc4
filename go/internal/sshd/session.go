package sshd

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/passwd"
	"smartvm.dev/go/internal/reaper"
)

// Bounds of what a session keeps of its requests.
const (
	maxEnvironment      = 1024
	maxEnvironmentBytes = 256 << 10
	maxTermBytes        = 128
)

// session is a session channel: it runs one process. Its fields belong to the goroutine that serves its requests.
type session struct {
	server  *Server
	channel ssh.Channel
	lookup  func() (passwd.User, error)

	env      []string
	envBytes int
	term     string
	window   *unix.Winsize
	started  bool
	// Both nil until the process runs; terminal also when it has none.
	process  *reaper.Process
	terminal *os.File
	// outlived says that the process goes on when the session is closed.
	outlived bool
	// Closed when the client has closed the channel or is gone.
	closed chan struct{}
}

func (s *Server) serveSession(offer ssh.NewChannel, lookup func() (passwd.User, error)) {
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	session := &session{server: s, channel: channel, lookup: lookup, closed: make(chan struct{})}
	for request := range requests {
		ok, then := session.handle(request)
		if request.WantReply {
			request.Reply(ok, nil)
		}
		if then != nil {
			then()
		}
	}
	close(session.closed)
	// The client has closed the channel or is gone, or the process has ended and this does nothing.
	if session.process != nil && !session.outlived {
		session.process.SignalGroup(syscall.SIGKILL)
	}
}

// handle answers whether a request is granted, and what to do after saying so.
func (s *session) handle(request *ssh.Request) (ok bool, then func()) {
	switch request.Type {
	case "env":
		return s.setEnv(request.Payload), nil
	case "pty-req":
		return s.requestTerminal(request.Payload), nil
	case "window-change":
		return s.changeWindow(request.Payload), nil
	case "signal":
		return s.signal(request.Payload), nil
	case "shell", "exec", "subsystem":
		var payload struct{ Value string }
		if request.Type != "shell" && ssh.Unmarshal(request.Payload, &payload) != nil ||
			request.Type == "subsystem" && payload.Value != "sftp" || s.started {
			return false, nil
		}
		s.started = true
		return true, func() { s.start(request.Type, payload.Value) }
	}
	return false, nil
}

func (s *session) setEnv(payload []byte) bool {
	var variable struct{ Name, Value string }
	if ssh.Unmarshal(payload, &variable) != nil || !validEnv(variable.Name, variable.Value) || s.started ||
		len(s.env) == maxEnvironment || s.envBytes+len(payload) > maxEnvironmentBytes {
		return false
	}
	s.envBytes += len(payload)
	s.env = append(s.env, variable.Name+"="+variable.Value)
	return true
}

func (s *session) requestTerminal(payload []byte) bool {
	var terminal struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if ssh.Unmarshal(payload, &terminal) != nil || len(terminal.Term) > maxTermBytes || s.started ||
		!validEnv("TERM", terminal.Term) {
		return false
	}
	s.term = terminal.Term
	s.window = winsize(terminal.Columns, terminal.Rows, terminal.Width, terminal.Height)
	return true
}

func (s *session) changeWindow(payload []byte) bool {
	var window struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &window) != nil || s.terminal == nil {
		return false
	}
	return setWindow(s.terminal, winsize(window.Columns, window.Rows, window.Width, window.Height)) == nil
}

func winsize(columns, rows, width, height uint32) *unix.Winsize {
	short := func(n uint32) uint16 { return uint16(min(n, 1<<16-1)) }
	return &unix.Winsize{Col: short(columns), Row: short(rows), Xpixel: short(width), Ypixel: short(height)}
}

// signal sends a signal of RFC 4254, 6.9, or any other that Linux has, to the process group.
func (s *session) signal(payload []byte) bool {
	var signal struct{ Name string }
	if ssh.Unmarshal(payload, &signal) != nil || s.process == nil {
		return false
	}
	number := unix.SignalNum("SIG" + signal.Name)
	return number != 0 && s.process.SignalGroup(number) == nil
}

// start runs the process, or says on the channel's stderr why it can't and ends the session with a shell's exit code.
func (s *session) start(kind, value string) {
	if request, ok := strings.CutPrefix(value, controlPrefix); ok && kind == "exec" {
		s.control(request)
		return
	}
	<-s.server.options.Ready
	if request, ok := strings.CutPrefix(value, filesPrefix); ok && kind == "exec" {
		go s.serveFiles(request)
		return
	}
	if err := s.startProcess(kind, value); err != nil {
		fmt.Fprintln(s.channel.Stderr(), "smartvm-agent:", err)
		s.exit(exitCodeOf(err))
	}
}

func (s *session) startProcess(kind, value string) error {
	if request, ok := strings.CutPrefix(value, attachPrefix); ok && kind == "exec" {
		return s.attach(request)
	}
	command, err := s.command(kind, value)
	switch {
	case err != nil:
		return err
	case command.detached != nil:
		return s.runDetached(command)
	case command.spawned != nil:
		return s.runSpawned(command)
	}
	return s.run(command)
}

// run starts the command and leaves it to goroutines that end with it.
func (s *session) run(c *command) error {
	process, streams, err := s.spawn(c, s.opener())
	if err != nil {
		return err
	}
	s.process = process
	go s.carry(process, streams)
	return nil
}

// opener gives a terminal to those who have asked for one.
func (s *session) opener() opener {
	if s.window != nil {
		return s.openTerminal
	}
	return openPipes
}

// spawn starts a process on streams of its own.
func (s *session) spawn(c *command, open opener) (*reaper.Process, *streams, error) {
	attr := c.attributes()
	if c.limits != nil {
		group, err := s.server.options.Groups.Make(*c.limits)
		if err != nil {
			return nil, nil, err
		}
		defer group.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, group.FD()
	}
	streams, err := open(attr, c.user)
	if err != nil {
		return nil, nil, err
	}
	process, err := s.server.options.Reaper.Start(c.path, c.argv, attr)
	streams.closeTheirs()
	if err != nil {
		streams.closeOurs()
		return nil, nil, commandError(c.argv[0], err)
	}
	return process, streams, nil
}

// carry moves the process's input and output until it has ended, then says how.
func (s *session) carry(process *reaper.Process, streams *streams) {
	var outputs sync.WaitGroup
	outputs.Go(func() { pump(s.channel, streams.stdout) })
	if streams.stderr != nil {
		outputs.Go(func() { pump(s.channel.Stderr(), streams.stderr) })
	}
	go streams.feed(s.channel)
	<-process.Done()
	streams.endInput()
	streams.endOutput()
	outputs.Wait()
	streams.closeOurs()
	s.exit(process.Status())
}

// exit tells how the process ended, then closes the channel. The end of the output comes behind the status: a client that has ended its
// own direction may close the channel when it sees that, and nothing can be sent any more.
func (s *session) exit(status syscall.WaitStatus) {
	if status.Signaled() {
		s.channel.SendRequest("exit-signal", false, exitSignal(status.Signal(), status.CoreDump()))
	} else {
		s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(status.ExitStatus())}))
	}
	s.channel.CloseWrite()
	s.channel.Close()
}

// exitSignal is the payload of exit-signal (RFC 4254, 6.10).
func exitSignal(signal syscall.Signal, coreDumped bool) []byte {
	return ssh.Marshal(struct {
		Signal     string
		CoreDumped bool
		Message    string
		Language   string
	}{signalName(signal), coreDumped, "", ""})
}
