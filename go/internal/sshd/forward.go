package sshd

import (
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	dialTimeout = 10 * time.Second
	// By then a connection has to have taken what its client has left for it.
	drainTimeout = 30 * time.Second
)

// forwardTCP serves a direct-tcpip channel (RFC 4254, 7.2).
func (s *Server) forwardTCP(offer ssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if ssh.Unmarshal(offer.ExtraData(), &target) != nil || target.Port > 1<<16-1 {
		offer.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	s.forward(offer, "tcp", net.JoinHostPort(target.Host, strconv.FormatUint(uint64(target.Port), 10)))
}

// forwardUnix serves a direct-streamlocal@openssh.com channel (OpenSSH's PROTOCOL, 2.4).
func (s *Server) forwardUnix(offer ssh.NewChannel) {
	var target struct {
		Path       string
		Reserved   string
		OriginPort uint32
	}
	if ssh.Unmarshal(offer.ExtraData(), &target) != nil {
		offer.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	s.forward(offer, "unix", target.Path)
}

func (s *Server) forward(offer ssh.NewChannel, network, address string) {
	<-s.options.Ready
	peer, err := dial(network, address)
	if err != nil {
		offer.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		peer.Close()
		return
	}
	splice(peer, channel, requests)
}

// dial reaches what listens at either loopback address of the name that has both, without asking a resolver.
func dial(network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if network != "tcp" || err != nil || host != "localhost" {
		return net.DialTimeout(network, address, dialTimeout)
	}
	peer, err := net.DialTimeout(network, net.JoinHostPort("127.0.0.1", port), dialTimeout)
	if err != nil {
		if other, otherErr := net.DialTimeout(network, net.JoinHostPort("::1", port), dialTimeout); otherErr == nil {
			return other, nil
		}
	}
	return peer, err
}

// splice joins a connection and a channel until both directions have ended, or one of the two is gone.
func splice(peer net.Conn, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer peer.Close()
	defer channel.Close()
	var copies sync.WaitGroup
	copies.Go(func() {
		if _, err := io.Copy(channel, peer); err == nil {
			channel.CloseWrite()
			return
		}
		// It broke, and what has come is not all. SSH has a word for that where a process has sent it.
		channel.SendRequest("exit-signal", false, exitSignal(syscall.SIGPIPE, false))
		channel.Close()
	})
	copies.Go(func() {
		io.Copy(peer, channel)
		if half, ok := peer.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	})
	// When the channel is closed nobody hears any more what the connection still says. What has come for it goes on to it.
	go func() {
		ssh.DiscardRequests(requests)
		peer.SetReadDeadline(time.Unix(1, 0))
		peer.SetWriteDeadline(time.Now().Add(drainTimeout))
	}()
	copies.Wait()
}
