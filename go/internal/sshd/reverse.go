package sshd

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// Most connections of one listener at a time. Those that come then wait: a guest's program can make as many as it likes.
	maxConnections = 256
	acceptAgain    = 100 * time.Millisecond
)

// reverse is what one connection's client listens to in the guest.
type reverse struct {
	client *ssh.ServerConn
	mu     sync.Mutex
	ended  bool
	byName map[string][]net.Listener
}

// tcpForward is the payload of tcpip-forward and of its cancellation (RFC 4254, 7.1).
type tcpForward struct {
	Address string
	Port    uint32
}

// unixForward is that of streamlocal-forward@openssh.com (OpenSSH's PROTOCOL, 2.4).
type unixForward struct{ Path string }

var errMalformed = errors.New("malformed request")

func newReverse(client *ssh.ServerConn) *reverse {
	return &reverse{client: client, byName: map[string][]net.Listener{}}
}

// requests are the global requests by which a client listens, and no longer does.
func (r *reverse) requests() map[string]GlobalRequest {
	return map[string]GlobalRequest{
		"tcpip-forward":                          r.listenTCP,
		"cancel-tcpip-forward":                   r.cancelTCP,
		"streamlocal-forward@openssh.com":        r.listenUnix,
		"cancel-streamlocal-forward@openssh.com": r.cancelUnix,
	}
}

func (r *reverse) listenTCP(payload []byte) ([]byte, func(), error) {
	var asked tcpForward
	if ssh.Unmarshal(payload, &asked) != nil || asked.Port > 1<<16-1 {
		return nil, nil, errMalformed
	}
	listeners, port, err := listenOn(asked)
	if err != nil {
		return nil, nil, err
	}
	bound := tcpForward{asked.Address, port}
	offer := func(from net.Conn) (string, []byte) {
		origin, _ := from.RemoteAddr().(*net.TCPAddr)
		return "forwarded-tcpip", ssh.Marshal(struct {
			Address    string
			Port       uint32
			Origin     string
			OriginPort uint32
		}{bound.Address, bound.Port, origin.IP.String(), uint32(origin.Port)})
	}
	if err := r.add(bound.name(), listeners, offer); err != nil {
		return nil, nil, err
	}
	if asked.Port != 0 {
		return nil, nil, nil
	}
	return ssh.Marshal(struct{ Port uint32 }{bound.Port}), nil, nil
}

func (r *reverse) cancelTCP(payload []byte) ([]byte, func(), error) {
	var asked tcpForward
	if ssh.Unmarshal(payload, &asked) != nil {
		return nil, nil, errMalformed
	}
	return nil, nil, r.cancel(asked.name())
}

func (r *reverse) listenUnix(payload []byte) ([]byte, func(), error) {
	var asked unixForward
	if ssh.Unmarshal(payload, &asked) != nil {
		return nil, nil, errMalformed
	}
	listener, err := net.Listen("unix", asked.Path)
	if err != nil {
		return nil, nil, err
	}
	offer := func(net.Conn) (string, []byte) {
		return "forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ Path, Reserved string }{asked.Path, ""})
	}
	return nil, nil, r.add(asked.Path, []net.Listener{listener}, offer)
}

func (r *reverse) cancelUnix(payload []byte) ([]byte, func(), error) {
	var asked unixForward
	if ssh.Unmarshal(payload, &asked) != nil {
		return nil, nil, errMalformed
	}
	return nil, nil, r.cancel(asked.Path)
}

func (f tcpForward) name() string {
	return net.JoinHostPort(f.Address, strconv.FormatUint(uint64(f.Port), 10))
}

// listenOn listens at what the names of RFC 4254, 7.1 stand for.
func listenOn(asked tcpForward) ([]net.Listener, uint32, error) {
	address := asked.Address
	switch address {
	case "*":
		address = ""
	case "localhost":
		address = "127.0.0.1"
	}
	first, err := net.Listen("tcp", tcpForward{address, asked.Port}.name())
	if err != nil {
		return nil, 0, err
	}
	listeners, port := []net.Listener{first}, uint32(first.Addr().(*net.TCPAddr).Port)
	if asked.Address == "localhost" {
		// A guest may have no IPv6, or another program at that port.
		if other, err := net.Listen("tcp", tcpForward{"::1", port}.name()); err == nil {
			listeners = append(listeners, other)
		}
	}
	return listeners, port, nil
}

// add offers the client a channel for each connection that comes, until it cancels that or is gone.
func (r *reverse) add(name string, listeners []net.Listener, offer func(net.Conn) (string, []byte)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.byName[name] != nil {
		closeAll(listeners)
		return net.ErrClosed
	}
	r.byName[name] = listeners
	for _, listener := range listeners {
		go r.accept(listener, offer)
	}
	return nil
}

func closeAll(listeners []net.Listener) (err error) {
	for _, listener := range listeners {
		err = errors.Join(err, listener.Close())
	}
	return err
}

func (r *reverse) accept(listener net.Listener, offer func(net.Conn) (string, []byte)) {
	for slots := make(chan struct{}, maxConnections); ; {
		slots <- struct{}{}
		peer, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// As when no more files can be open.
			<-slots
			time.Sleep(acceptAgain)
			continue
		}
		go func() {
			defer func() { <-slots }()
			r.carry(peer, offer)
		}()
	}
}

func (r *reverse) carry(peer net.Conn, offer func(net.Conn) (string, []byte)) {
	kind, payload := offer(peer)
	channel, requests, err := r.client.OpenChannel(kind, payload)
	if err != nil {
		peer.Close()
		return
	}
	splice(peer, channel, requests)
}

func (r *reverse) cancel(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	listeners := r.byName[name]
	if listeners == nil {
		return net.ErrClosed
	}
	delete(r.byName, name)
	return closeAll(listeners)
}

// end closes all that the client listens to.
func (r *reverse) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for _, listeners := range r.byName {
		closeAll(listeners)
	}
}
