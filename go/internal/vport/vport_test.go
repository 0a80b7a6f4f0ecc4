package vport

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
)

// connect serves one connection over a socket pair and answers the host's end of it, and a channel for its end.
func connect(t *testing.T, server *Server) (*http2.ClientConn, net.Conn, <-chan struct{}) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := newConn(os.NewFile(uintptr(fds[0]), "port"))
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[1]), "host")
	host, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	ended := make(chan struct{})
	go func() { server.serve(guest); close(ended) }()
	client, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(host)
	if err != nil {
		t.Fatal(err)
	}
	return client, host, ended
}

func dial(t *testing.T, client *http2.ClientConn, port string, body io.ReadCloser) *http.Response {
	t.Helper()
	request := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: port}, Host: port,
		Header: http.Header{}, Body: body, ContentLength: -1,
	}
	response, err := client.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func echo(conn net.Conn) { io.Copy(conn, conn) }

func TestAStreamCarriesEveryByteBothWays(t *testing.T) {
	client, _, _ := connect(t, &Server{Handlers: map[uint32]func(net.Conn){10022: echo}})
	data := make([]byte, 20<<20)
	rand.Read(data)
	response := dial(t, client, "10022", io.NopCloser(bytes.NewReader(data)))
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 || !bytes.Equal(got, data) {
		t.Fatalf("status %d, %d bytes of %d: %v", response.StatusCode, len(got), len(data), err)
	}
}

func TestOtherPortsAreDialled(t *testing.T) {
	server := &Server{Dial: func(_ context.Context, port uint32) (net.Conn, error) {
		if port != 7 {
			return nil, errors.New("refused")
		}
		ours, theirs := net.Pipe()
		go func() { echo(theirs); theirs.Close() }()
		return ours, nil
	}}
	client, _, _ := connect(t, server)
	in, hello := io.Pipe()
	response := dial(t, client, "7", in)
	go hello.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	hello.Close()
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) != 0 {
		t.Fatalf("%q %v", rest, err)
	}
	for port, status := range map[string]int{"8": 502, "web": 400, "4294967296": 400} {
		if response := dial(t, client, port, http.NoBody); response.StatusCode != status {
			t.Errorf("port %s: %d, want %d", port, response.StatusCode, status)
		}
	}
}

func TestANamedStreamIsNoPort(t *testing.T) {
	client, _, _ := connect(t, &Server{Named: map[string]func(net.Conn){"news": echo}})
	response := dial(t, client, "news", io.NopCloser(strings.NewReader("hello")))
	if got, err := io.ReadAll(response.Body); response.StatusCode != 200 || string(got) != "hello" {
		t.Fatalf("status %d, %q %v", response.StatusCode, got, err)
	}
	if response := dial(t, client, "olds", http.NoBody); response.StatusCode != 400 {
		t.Errorf("status %d of a name that is not served", response.StatusCode)
	}
}

func TestAHandlerThatReturnsEndsTheStream(t *testing.T) {
	server := &Server{Handlers: map[uint32]func(net.Conn){10022: func(conn net.Conn) {
		conn.Write([]byte("bye"))
		conn.Close()
	}}}
	client, _, _ := connect(t, server)
	in, _ := io.Pipe()
	if got, err := io.ReadAll(dial(t, client, "10022", in).Body); string(got) != "bye" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
}

func TestTheEndOfTheConnectionEndsItsStreams(t *testing.T) {
	ends := make(chan error, 1)
	server := &Server{Handlers: map[uint32]func(net.Conn){10022: func(conn net.Conn) {
		_, err := io.Copy(io.Discard, conn)
		ends <- err
	}}}
	client, host, ended := connect(t, server)
	in, _ := io.Pipe()
	dial(t, client, "10022", in)
	host.Close()
	if err := <-ends; err == nil {
		t.Fatal("the stream ended as if the host had closed it")
	}
	<-ended
}

func TestACloseWakesAWriterThatTheHostDoesNotRead(t *testing.T) {
	writing, ended := make(chan net.Conn, 1), make(chan struct{})
	server := &Server{Handlers: map[uint32]func(net.Conn){10022: func(conn net.Conn) {
		defer close(ended)
		writing <- conn
		for chunk := make([]byte, 1<<20); ; {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	}}}
	client, _, _ := connect(t, server)
	in, _ := io.Pipe()
	dial(t, client, "10022", in)
	(<-writing).Close()
	<-ended
}
