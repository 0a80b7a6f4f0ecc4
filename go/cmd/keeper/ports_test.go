package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func guestEchoes(t *testing.T) (tcp, udp uint16) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); packets.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.(*net.TCPConn).CloseWrite() }()
		}
	}()
	go func() {
		for buffer := make([]byte, 1500); ; {
			n, peer, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			packets.WriteTo(buffer[:n], peer)
		}
	}()
	return uint16(listener.Addr().(*net.TCPAddr).Port), uint16(packets.LocalAddr().(*net.UDPAddr).Port)
}

func dialPort(t *testing.T, network string, number uint16) net.Conn {
	conn, err := net.Dial(network, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(number))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func wantEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
}

func TestPortsLeadToTheGuest(t *testing.T) {
	tcp, udp := guestEchoes(t)
	p := newPorts()
	bound, err := p.publish("127.0.0.1", []port{{"127.0.0.1", 0, tcp, "tcp"}, {"127.0.0.1", 0, udp, "udp"}})
	if err != nil {
		t.Fatal(err)
	}
	held := dialPort(t, "tcp", bound[0].HostPort)
	wantEcho(t, held)
	wantEcho(t, dialPort(t, "udp", bound[1].HostPort))

	// The end of one direction is passed on, and the other goes on.
	half := dialPort(t, "tcp", bound[0].HostPort)
	half.Write([]byte("word"))
	half.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(half); string(all) != "word" || err != nil {
		t.Fatalf("got %q, %v", all, err)
	}

	// Those that stay keep their connections; those that go end with theirs.
	if _, err := p.publish("127.0.0.1", bound[:1]); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, held)
	p.close()
	if _, err := held.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatalf("the connection goes on: %v", err)
	}
	if _, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(bound[0].HostPort)))); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the port is still there: %v", err)
	}
}

// A peer that is connected hears nobody but whom it asked.
func TestDatagramsAreAnsweredFromTheAddressThatWasAsked(t *testing.T) {
	_, udp := guestEchoes(t)
	for _, wildcard := range []string{"", "0.0.0.0"} {
		p := newPorts()
		defer p.close()
		bound, err := p.publish("127.0.0.1", []port{{wildcard, 0, udp, "udp"}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(from, to string) netip.AddrPort {
			t.Helper()
			local, remote := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.JoinHostPort(to, strconv.Itoa(int(bound[0].HostPort)))
			conn, err := (&net.Dialer{LocalAddr: local}).Dial("udp", remote)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			wantEcho(t, conn)
			return conn.LocalAddr().(*net.UDPAddr).AddrPort()
		}
		// The same peer asks both: by the route alone, both answers would come from the one.
		peer := ask("127.0.0.1:0", "127.0.0.2")
		ask(peer.String(), "127.0.0.3")
		if wildcard == "" && hasIPv6() {
			ask("[::1]:0", "::1")
		}
	}
}

func hasIPv6() bool {
	packets, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		packets.Close()
	}
	return err == nil
}

func TestPortsAreBoundAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	number := uint16(taken.Addr().(*net.TCPAddr).Port)
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	freed := uint16(free.Addr().(*net.TCPAddr).Port)
	free.Close()
	p := newPorts()
	defer p.close()
	_, err = p.publish("127.0.0.1", []port{{"127.0.0.1", freed, 80, "tcp"}, {"127.0.0.1", number, 80, "tcp"}})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "ports[1]: ") {
		t.Fatalf("got %v", err)
	}
	again, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(freed))))
	if err != nil {
		t.Fatalf("the port before it stayed bound: %v", err)
	}
	again.Close()
}

func TestAGuestThatIsNotThereRefuses(t *testing.T) {
	tcp, _ := guestEchoes(t)
	p := newPorts()
	defer p.close()
	bound, err := p.publish("127.0.0.2", []port{{"127.0.0.1", 0, tcp, "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(bound[0].HostPort))))
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	// It may be there before the dialer has looked.
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v", err)
	}
}

func TestPortsAreSaidToTheKeeper(t *testing.T) {
	k := start(t, "sleep 60")
	k.call("PUT", "/ports", `{"guest": "127.0.0.1", "ports": []}`, http.StatusBadRequest)
	k.call("PUT", "/ports", `{"guest": "172.30.0.9", "ports": [{"hostPort": 0, "guestPort": 80, "protocol": "sctp"}]}`, http.StatusBadRequest)
	k.call("PUT", "/ports", `{"guest": "172.30.0.9", "ports": [{"hostIp": "127.0.0.1", "hostPort": 0, "guestPort": 80, "protocol": "tcp"}]}`, http.StatusOK)
	k.call("PUT", "/signal", `{"signal": "SIGKILL"}`, http.StatusNoContent)
	k.wait()
}
