// Package mmds answers the guest's requests for the metadata of its microVM as Firecracker's MMDS does, from what the host
// tells of it.
package mmds

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// The longest line of the host, in bytes. Its store holds 51,200 bytes, unless it was given another limit.
	maxDocument = 16 << 20
	// Firecracker's bounds for its guests: of a request, in bytes, and of connections at a time.
	maxRequest     = 2500
	maxConnections = 30
	idleTimeout    = 10 * time.Second
)

// document is a line of the host: the configuration of the MMDS and all of its content.
type document struct {
	Version    string          `json:"version"`
	Address    string          `json:"address"`
	IMDSCompat bool            `json:"imdsCompat"`
	Data       json.RawMessage `json:"data"`
}

// Service is the MMDS. It listens from when the host has told of one.
type Service struct {
	listen func(address net.IP) (net.Listener, error)

	mu      sync.Mutex
	current document
	tokens  *tokenAuthority
	// Counts the host's streams: the last one tells.
	feeds    int
	address  string
	listener net.Listener
}

// New makes a service that puts the address of the MMDS on the loopback interface.
func New() *Service { return &Service{listen: listenLocal} }

// Feed takes what the host tells, until the stream ends. With it goes the content, and so do the tokens: the machine may
// be one of many out of a snapshot then, whose metadata are not those of its origin.
func (s *Service) Feed(stream io.Reader) error {
	feed := s.begin()
	defer s.end(feed)
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxDocument)
	for lines.Scan() {
		if err := s.take(feed, lines.Bytes()); err != nil {
			return fmt.Errorf("MMDS: %w", err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("MMDS: content of more than %d bytes", maxDocument)
	}
	return nil
}

func (s *Service) begin() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds++
	s.clear()
	return s.feeds
}

func (s *Service) end(feed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if feed == s.feeds {
		s.clear()
	}
}

// clear leaves a service as that of a VM whose MMDS has been configured but not filled.
func (s *Service) clear() {
	s.current.Data = json.RawMessage("null")
	s.tokens = newTokenAuthority()
}

func (s *Service) take(feed int, line []byte) error {
	next := document{}
	if err := json.Unmarshal(line, &next); err != nil {
		return err
	}
	if next.Version != "V1" && next.Version != "V2" {
		return fmt.Errorf("unknown version %.16q", next.Version)
	}
	address := net.ParseIP(next.Address).To4()
	if address == nil {
		return fmt.Errorf("%.64q is not an IPv4 address", next.Address)
	}
	if next.Data == nil {
		next.Data = json.RawMessage("null")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if feed != s.feeds {
		return nil
	}
	s.current = next
	return s.serve(address)
}

// serve listens at an address, if it does not already.
func (s *Service) serve(address net.IP) error {
	if s.listener != nil && s.address == address.String() {
		return nil
	}
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	listener, err := s.listen(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	s.listener, s.address = listener, address.String()
	server := &http.Server{
		Handler:           s,
		MaxHeaderBytes:    maxRequest,
		ReadHeaderTimeout: idleTimeout,
		WriteTimeout:      idleTimeout,
		IdleTimeout:       idleTimeout,
	}
	go server.Serve(netutil.LimitListener(listener, maxConnections))
	return nil
}

// snapshot answers what is to be served, and the authority over tokens.
func (s *Service) snapshot() (document, *tokenAuthority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.tokens
}
