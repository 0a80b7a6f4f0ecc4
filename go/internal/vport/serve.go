package vport

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"golang.org/x/net/http2"
)

// Both sides of the port use the same windows, in bytes.
const (
	streamWindow     = 4 << 20
	connectionWindow = 16 << 20
	maxStreams       = 1024
)

// Server answers the host's CONNECT requests.
type Server struct {
	// Handlers serve ports in this process, each until its connection has ended.
	Handlers map[uint32]func(net.Conn)
	// Named serve streams of the host that are no connections of vsock, in the same way.
	Named map[string]func(net.Conn)
	// Dial reaches what listens on any other port of the guest.
	Dial func(ctx context.Context, port uint32) (net.Conn, error)
}

// Serve serves one connection of the host after the other, over the device file name of the directory dev, until that
// cannot be opened any more.
func (s *Server) Serve(dev *os.File, name string) error {
	for {
		c, err := openConn(dev, name)
		if err != nil {
			return err
		}
		s.serve(c)
	}
}

// serve waits for the host to speak first, for an HTTP/2 server gives its client only ten seconds to do so.
func (s *Server) serve(c *conn) {
	defer c.Close()
	if c.awaitHost() != nil {
		return
	}
	server := &http2.Server{
		MaxConcurrentStreams:         maxStreams,
		MaxUploadBufferPerStream:     streamWindow,
		MaxUploadBufferPerConnection: connectionWindow,
	}
	server.ServeConn(c, &http2.ServeConnOpts{BaseConfig: &http.Server{}, Handler: s})
}

// ServeHTTP joins one stream to a port, or answers 502 when nobody listens there.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT is served here", http.StatusMethodNotAllowed)
		return
	}
	if handler := s.Named[r.Host]; handler != nil {
		handle(w, r, handler)
		return
	}
	port, err := strconv.ParseUint(r.Host, 10, 32)
	if err != nil {
		http.Error(w, "the authority is not a vsock port", http.StatusBadRequest)
		return
	}
	if handler := s.Handlers[uint32(port)]; handler != nil {
		handle(w, r, handler)
		return
	}
	peer, err := s.Dial(r.Context(), uint32(port))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	stream := accept(w, r)
	defer stream.finish()
	join(stream, peer)
}

func handle(w http.ResponseWriter, r *http.Request, handler func(net.Conn)) {
	stream := accept(w, r)
	defer stream.finish()
	handler(stream)
}

func accept(w http.ResponseWriter, r *http.Request) *stream {
	w.WriteHeader(http.StatusOK)
	stream := newStream(w, r)
	stream.controller.Flush()
	return stream
}

// join copies until the guest's side has ended, for a handler cannot end its half of a stream alone. The host's end of
// its half is passed on.
func join(stream *stream, peer net.Conn) {
	defer peer.Close()
	go func() {
		_, err := io.Copy(peer, stream)
		if half, ok := peer.(interface{ CloseWrite() error }); ok && err == nil {
			half.CloseWrite()
		} else {
			peer.Close()
		}
	}()
	io.Copy(stream, peer)
}
