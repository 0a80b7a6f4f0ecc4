package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// How long a guest has to take a connection.
	portDialTimeout = 10 * time.Second
	// How long a UDP peer is remembered that says nothing.
	udpIdle = 3 * time.Minute
)

// tcpForward joins each connection to one to the guest.
type tcpForward struct {
	listener net.Listener
	target   string
	places   chan struct{}
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	closed   bool
}

func (f *tcpForward) serve() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		select {
		case f.places <- struct{}{}:
			go func() {
				defer func() { <-f.places }()
				f.join(conn)
			}()
		default:
			conn.Close()
		}
	}
}

func (f *tcpForward) join(conn net.Conn) {
	defer conn.Close()
	if !f.keep(conn) {
		return
	}
	defer f.forget(conn)
	guest, err := net.DialTimeout("tcp", f.target, portDialTimeout)
	if err != nil {
		// The peer is refused, as by a guest that it had reached itself.
		conn.(*net.TCPConn).SetLinger(0)
		return
	}
	defer guest.Close()
	if !f.keep(guest) {
		return
	}
	defer f.forget(guest)
	done := make(chan struct{}, 2)
	one := func(to, from net.Conn) {
		io.Copy(to, from)
		// The other direction may go on.
		to.(*net.TCPConn).CloseWrite()
		done <- struct{}{}
	}
	go one(guest, conn)
	go one(conn, guest)
	<-done
	<-done
}

func (f *tcpForward) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.conns[conn] = struct{}{}
	}
	return !f.closed
}

func (f *tcpForward) forget(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}

func (f *tcpForward) Close() error {
	err := f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for conn := range f.conns {
		conn.Close()
	}
	return err
}

// udpPeer is who asks, and which address of the host it asked: that is who has to answer.
type udpPeer struct {
	from  netip.AddrPort
	asked netip.Addr
}

// udpForward has a socket to the guest for each peer, by which the answers find back.
type udpForward struct {
	conn   *net.UDPConn
	target string
	places chan struct{}
	mu     sync.Mutex
	peers  map[udpPeer]net.Conn
	closed bool
}

func (f *udpForward) serve() {
	control := make([]byte, packetInfoSpace)
	for buffer := make([]byte, 64<<10); ; {
		n, said, _, from, err := f.conn.ReadMsgUDPAddrPort(buffer, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if guest := f.guestOf(udpPeer{from, sentTo(control[:said])}); guest != nil {
			guest.SetReadDeadline(time.Now().Add(udpIdle))
			guest.Write(buffer[:n])
		}
	}
}

func (f *udpForward) guestOf(peer udpPeer) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if guest := f.peers[peer]; guest != nil || f.closed {
		return guest
	}
	select {
	case f.places <- struct{}{}:
	default:
		return nil
	}
	guest, err := net.Dial("udp", f.target)
	if err != nil {
		<-f.places
		return nil
	}
	f.peers[peer] = guest
	go f.answer(peer, guest)
	return guest
}

func (f *udpForward) answer(peer udpPeer, guest net.Conn) {
	defer func() {
		f.mu.Lock()
		delete(f.peers, peer)
		f.mu.Unlock()
		guest.Close()
		<-f.places
	}()
	guest.SetReadDeadline(time.Now().Add(udpIdle))
	for buffer := make([]byte, 64<<10); ; {
		n, err := guest.Read(buffer)
		// Nobody listens in the guest: another datagram may find somebody.
		if errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err != nil {
			return
		}
		guest.SetReadDeadline(time.Now().Add(udpIdle))
		if _, _, err := f.conn.WriteMsgUDPAddrPort(buffer[:n], sendFrom(peer.asked), peer.from); err != nil {
			// The host has that address no more.
			f.conn.WriteToUDPAddrPort(buffer[:n], peer.from)
		}
	}
}

func (f *udpForward) Close() error {
	err := f.conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, guest := range f.peers {
		guest.Close()
	}
	return err
}
