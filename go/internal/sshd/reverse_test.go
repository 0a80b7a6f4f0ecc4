package sshd

import (
	"io"
	"net"
	"path/filepath"
	"testing"
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
