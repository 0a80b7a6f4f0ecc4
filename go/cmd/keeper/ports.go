package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
)

const (
	// maxPortsBody bounds the body of PUT /ports, in bytes.
	maxPortsBody = 64 << 10
	// maxPortConnections bounds the connections and UDP peers of a VM: each has descriptors of the keeper.
	maxPortConnections = 1024
)

// port is one port of the host that leads to one of the guest.
type port struct {
	// Absent: every address of the host.
	HostIP    string `json:"hostIp,omitempty"`
	HostPort  uint16 `json:"hostPort"`
	GuestPort uint16 `json:"guestPort"`
	Protocol  string `json:"protocol"`
}

// ports holds the published ports of the VM for as long as the keeper lives, whatever program it was that asked. The sockets are
// bound here, so the kernel is who says whether a port is free; what nftables does not lead to the guest is led here.
type ports struct {
	mu     sync.Mutex
	guest  string
	open   map[port]io.Closer
	places chan struct{}
}

func newPorts() *ports {
	return &ports{places: make(chan struct{}, maxPortConnections)}
}

// putPorts publishes these ports in place of those before, or none of them. It answers which they are.
func (a *api) putPorts(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Guest string `json:"guest"`
		Ports []port `json:"ports"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPortsBody)).Decode(&body); err != nil {
		fault(w, http.StatusBadRequest, "The body is no list of ports: "+err.Error())
		return
	}
	guest, err := netip.ParseAddr(body.Guest)
	if err != nil || guest.IsLoopback() || guest.IsUnspecified() || guest.IsMulticast() {
		fault(w, http.StatusBadRequest, fmt.Sprintf("%.64q is not the address of a guest", body.Guest))
		return
	}
	bound, err := a.ports.publish(guest.String(), body.Ports)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			status = http.StatusConflict
		}
		fault(w, status, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"ports": bound})
}

// publish binds all ports or none. A port that is published already keeps its socket and its connections; hostPort 0 is another one
// each time.
func (p *ports) publish(guest string, wanted []port) (bound []port, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if guest != p.guest {
		closeAbsent(p.open, nil)
		p.open = nil
	}
	open := map[port]io.Closer{}
	for i, one := range wanted {
		closer, number := p.open[one], one.HostPort
		if closer == nil {
			if closer, number, err = p.bind(guest, one); err != nil {
				closeAbsent(open, p.open)
				return nil, fmt.Errorf("ports[%d]: %w", i, err)
			}
		}
		one.HostPort = number
		bound, open[one] = append(bound, one), closer
	}
	closeAbsent(p.open, open)
	p.guest, p.open = guest, open
	return bound, nil
}

func closeAbsent(from, of map[port]io.Closer) {
	for one, closer := range from {
		if of[one] != closer {
			closer.Close()
		}
	}
}

// close ends all of them with the VM.
func (p *ports) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	closeAbsent(p.open, nil)
	p.open = nil
}

func (p *ports) bind(guest string, one port) (io.Closer, uint16, error) {
	if one.GuestPort == 0 {
		return nil, 0, errors.New("a guest has no port 0")
	}
	network := one.Protocol
	if one.HostIP != "" {
		address, err := netip.ParseAddr(one.HostIP)
		if err != nil {
			return nil, 0, err
		}
		// Without it Go takes the other family too for an address that is every one.
		network += map[bool]string{true: "4", false: "6"}[address.Is4()]
	}
	address := net.JoinHostPort(one.HostIP, strconv.Itoa(int(one.HostPort)))
	target := net.JoinHostPort(guest, strconv.Itoa(int(one.GuestPort)))
	switch one.Protocol {
	case "tcp":
		listener, err := net.Listen(network, address)
		if err != nil {
			return nil, 0, err
		}
		forward := &tcpForward{listener: listener, target: target, places: p.places, conns: map[net.Conn]struct{}{}}
		go forward.serve()
		return forward, uint16(listener.Addr().(*net.TCPAddr).Port), nil
	case "udp":
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			return nil, 0, err
		}
		if err := tellPacketInfo(conn.(*net.UDPConn)); err != nil {
			conn.Close()
			return nil, 0, err
		}
		forward := &udpForward{conn: conn.(*net.UDPConn), target: target, places: p.places, peers: map[udpPeer]net.Conn{}}
		go forward.serve()
		return forward, uint16(conn.LocalAddr().(*net.UDPAddr).Port), nil
	}
	return nil, 0, fmt.Errorf("%.16q is neither tcp nor udp", one.Protocol)
}
