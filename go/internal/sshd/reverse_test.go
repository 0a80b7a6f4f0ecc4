package sshd

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestListensForTheClient(t *testing.T) {
	client := serve(t, nil).client()
	path := filepath.Join(t.TempDir(), "host.sock")
	tcp, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := client.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	for listener, address := range map[net.Listener][2]string{tcp: {"tcp", tcp.Addr().String()}, unix: {"unix", path}} {
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(conn)
			conn.Write(append([]byte("got "), said...))
			conn.Close()
		}()
		conn, err := net.Dial(address[0], address[1])
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("words"))
		conn.(interface{ CloseWrite() error }).CloseWrite()
		if answer, err := io.ReadAll(conn); err != nil || string(answer) != "got words" {
			t.Errorf("%s: %q %v", address, answer, err)
		}
		conn.Close()
	}
	if _, err := client.Listen("tcp", tcp.Addr().String()); err == nil {
		t.Error("listens twice")
	}
	if err := unix.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("listens after it was canceled")
	}
	client.Close()
	client.Wait()
	until(t, "the end of listening", func() bool {
		_, err := net.Dial("tcp", tcp.Addr().String())
		return err != nil
	})
}

func TestLocalhostIsEitherLoopback(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	conn, err := serve(t, nil).client().Dial("tcp", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListensOnBothLoopbackAddressesForLocalhost(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	probe.Close()
	client := serve(t, nil).client()
	channels := client.HandleChannelOpen("forwarded-tcpip")
	ok, answer, err := client.SendRequest("tcpip-forward", true, ssh.Marshal(tcpForward{"localhost", 0}))
	var bound struct{ Port uint32 }
	if err != nil || !ok || ssh.Unmarshal(answer, &bound) != nil {
		t.Fatal(ok, err)
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("tcp", tcpForward{address, bound.Port}.name())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var told struct {
			Address    string
			Port       uint32
			Origin     string
			OriginPort uint32
		}
		if ssh.Unmarshal((<-channels).ExtraData(), &told) != nil || told.Address != "localhost" || told.Origin != address {
			t.Errorf("%s: %+v", address, told)
		}
	}
	ok, _, err = client.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(tcpForward{"localhost", bound.Port}))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		if _, err := net.Dial("tcp", tcpForward{address, bound.Port}.name()); err == nil {
			t.Error("listens after it was canceled:", address)
		}
	}
}

func TestHoldsConnectionsBeyondTheMost(t *testing.T) {
	client := serve(t, nil).client()
	listener, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 2*maxConnections)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
			conn.Write([]byte("."))
		}
	}()
	var conns []net.Conn
	for range maxConnections + 10 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	dot := make([]byte, 1)
	for _, conn := range conns[:maxConnections] {
		if _, err := io.ReadFull(conn, dot); err != nil {
			t.Fatal(err)
		}
	}
	if len(accepted) != maxConnections {
		t.Fatalf("%d are open", len(accepted))
	}
	for range 10 {
		(<-accepted).Close()
	}
	for _, conn := range conns[maxConnections:] {
		if _, err := io.ReadFull(conn, dot); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTellsOfConnectionsThatBreak(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, _ := listener.Accept()
		io.ReadFull(conn, make([]byte, 1))
		conn.Write([]byte("half"))
		io.ReadFull(conn, make([]byte, 1))
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	channel, requests, err := serve(t, nil).client().OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{"127.0.0.1", uint32(port), "", 0}))
	if err != nil {
		t.Fatal(err)
	}
	channel.Write([]byte("a"))
	io.ReadFull(channel, make([]byte, 4))
	channel.Write([]byte("b"))
	if request := <-requests; request == nil || request.Type != "exit-signal" {
		t.Errorf("%v", request)
	}
}
