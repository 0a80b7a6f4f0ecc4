package vport

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// stream is a net.Conn over one CONNECT stream. It must not outlive its handler: finish ends it.
type stream struct {
	request    *http.Request
	writer     http.ResponseWriter
	controller *http.ResponseController
	closeOnce  sync.Once
	writing    sync.Mutex
	finished   bool
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	return &stream{request: r, writer: w, controller: http.NewResponseController(w)}
}

func (s *stream) Read(buffer []byte) (int, error) { return s.request.Body.Read(buffer) }

func (s *stream) Write(data []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.finished {
		return 0, net.ErrClosed
	}
	n, err := s.writer.Write(data)
	if err == nil {
		err = s.controller.Flush()
	}
	return n, err
}

// Close wakes whoever reads or writes. The handler's return ends the stream itself: in order, unless a write that the
// host does not take has to be cut off.
func (s *stream) Close() error {
	s.closeOnce.Do(func() {
		s.request.Body.Close()
		if s.writing.TryLock() {
			s.finished = true
			s.writing.Unlock()
		} else {
			s.controller.SetWriteDeadline(time.Unix(1, 0))
		}
	})
	return nil
}

// finish closes the stream and waits until nobody uses the ResponseWriter any more.
func (s *stream) finish() {
	s.Close()
	s.writing.Lock()
	s.finished = true
	s.writing.Unlock()
}

func (s *stream) LocalAddr() net.Addr  { return addr(s.request.Host) }
func (s *stream) RemoteAddr() net.Addr { return addr("host") }

var errNoDeadline = errors.New("an HTTP/2 stream of the port has no deadlines")

func (s *stream) SetDeadline(time.Time) error      { return errNoDeadline }
func (s *stream) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (s *stream) SetWriteDeadline(time.Time) error { return errNoDeadline }
