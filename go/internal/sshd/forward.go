package sshd

import (
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const dialTimeout = 10 * time.Second

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
	peer, err := net.DialTimeout(network, address, dialTimeout)
	if err != nil {
		offer.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer peer.Close()
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	var copies sync.WaitGroup
	copies.Go(func() {
		io.Copy(channel, peer)
		channel.CloseWrite()
	})
	copies.Go(func() {
		io.Copy(peer, channel)
		if half, ok := peer.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	})
	// They end when the channel is closed, also where the connection behind it still has something to say.
	go func() {
		ssh.DiscardRequests(requests)
		peer.Close()
	}()
	copies.Wait()
}
