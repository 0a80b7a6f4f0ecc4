// Package sshd is the guest's SSH server: commands, terminals, SFTP and forwarding for the one who holds the VM's key.
package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/guestlimits"
	"smartvm.dev/go/internal/passwd"
	"smartvm.dev/go/internal/reaper"
)

const (
	handshakeTimeout = 30 * time.Second
	// The guest's own programs can dial the server too. Those without the key shall not take its memory.
	maxHandshakes = 64
)

// GlobalRequest answers a global request's payload. then, which may be nil, runs once the reply is on its way.
type GlobalRequest func(payload []byte) (reply []byte, then func(), err error)

// Options is what a Server needs of the machine that it runs on.
type Options struct {
	// HostKey is a private key in OpenSSH's format, AuthorizedKeys are lines as of authorized_keys.
	HostKey        string
	AuthorizedKeys []string
	// Ready is closed when the root file system and the network are there. Whoever asks for them earlier waits.
	Ready <-chan struct{}
	// Reaper owns the processes.
	Reaper *reaper.Reaper
	// Lookup finds a user by name.
	Lookup func(name string) (passwd.User, error)
	// Defaults are of every command that says nothing else; its user and directory, of smartvm-exec alone.
	Defaults guestconfig.Defaults
	// Console takes what detached processes print.
	Console io.Writer
	// Ended is told how the process ended whose end is the VM's, after all that it printed is written.
	Ended func(syscall.WaitStatus)
	// Groups are for commands with limits.
	Groups *guestlimits.Groups
	// SFTP is the command line that serves SFTP on its standard input and output, in the user's home.
	SFTP []string
	// Requests are the global requests besides SSH's own.
	Requests map[string]GlobalRequest
}

// Server serves SSH connections.
type Server struct {
	options Options
	config  *ssh.ServerConfig
	jobs    jobs
	// Holds one for each connection whose client has not shown its key.
	handshakes chan struct{}
}

// New checks the keys.
func New(options Options) (*Server, error) {
	hostKey, err := ssh.ParsePrivateKey([]byte(options.HostKey))
	if err != nil {
		return nil, fmt.Errorf("hostKey: %w", err)
	}
	var authorized [][]byte
	for i, line := range options.AuthorizedKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("authorizedKeys[%d]: %w", i, err)
		}
		authorized = append(authorized, key.Marshal())
	}
	config := &ssh.ServerConfig{
		// The quickest of the secure algorithms where every instruction is emulated.
		Config: ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519}, Ciphers: quickCiphers()},
		// The version of the protocol stands in it, so that it costs the host no request.
		ServerVersion: fmt.Sprintf("SSH-2.0-SmartVM_%d", guestconfig.Protocol),
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			offered := key.Marshal()
			for _, known := range authorized {
				if bytes.Equal(known, offered) {
					return nil, nil
				}
			}
			return nil, errors.New("the key is not this VM's")
		},
	}
	config.AddHostKey(hostKey)
	s := &Server{options: options, config: config, jobs: jobs{byPID: map[int]*job{}}, handshakes: make(chan struct{}, maxHandshakes)}
	s.options.Requests = map[string]GlobalRequest{
		"processes" + requestDomain: s.jobs.list,
		"signal" + requestDomain:    s.jobs.signal,
	}
	maps.Copy(s.options.Requests, options.Requests)
	return s, nil
}

// Serve serves one connection until it ends, closes it, and kills what still runs for it.
func (s *Server) Serve(conn net.Conn) {
	defer conn.Close()
	client, channels, requests, err := s.handshake(conn)
	if err != nil {
		return
	}
	reverse := newReverse(client)
	defer reverse.end()
	go s.serveRequests(requests, reverse.requests())
	user := s.userOf(client)
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			go s.serveSession(channel, user)
		case "direct-tcpip":
			go s.forwardTCP(channel)
		case "direct-streamlocal@openssh.com":
			go s.forwardUnix(channel)
		default:
			channel.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

func (s *Server) handshake(conn net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	select {
	case s.handshakes <- struct{}{}:
		defer func() { <-s.handshakes }()
	default:
		return nil, nil, nil, errors.New("too many handshakes")
	}
	late := time.AfterFunc(handshakeTimeout, func() { conn.Close() })
	defer late.Stop()
	return ssh.NewServerConn(conn, s.config)
}

// userOf answers how to find the connection's user once the root file system is there. Names that the guest does not
// know stand for root.
func (s *Server) userOf(client *ssh.ServerConn) func() (passwd.User, error) {
	return func() (passwd.User, error) {
		if user, err := s.options.Lookup(client.User()); err == nil {
			return user, nil
		}
		return s.options.Lookup("root")
	}
}

func (s *Server) serveRequests(requests <-chan *ssh.Request, own map[string]GlobalRequest) {
	for request := range requests {
		handler := s.options.Requests[request.Type]
		if forward := own[request.Type]; forward != nil {
			// What listens has to be in the guest's own root.
			<-s.options.Ready
			handler = forward
		}
		if handler == nil {
			request.Reply(false, nil)
			continue
		}
		reply, then, err := handler(request.Payload)
		if err != nil {
			request.Reply(false, []byte(err.Error()))
			continue
		}
		request.Reply(true, reply)
		if then != nil {
			then()
		}
	}
}
