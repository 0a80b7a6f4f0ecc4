package sshd

import (
	"encoding/json"
	"fmt"
	"io"

	"smartvm.dev/go/internal/outring"
)

const (
	streamOut = iota
	streamErr
	// An exec request that starts so joins a spawned process: {"pid":1}.
	attachPrefix = "smartvm-attach "
)

// spawned says what becomes of a process that others can reach too.
type spawned struct {
	// Outlives says that it does not end with its session.
	Outlives bool `json:"outlives"`
	// NoInput ends its standard input at once.
	NoInput bool `json:"noInput"`
}

// runSpawned starts a process, says its number, and joins it.
func (s *session) runSpawned(c *command) error {
	table := &s.server.jobs
	if !table.hasRoom() {
		return errFull
	}
	process, streams, err := s.spawn(c, s.opener())
	if err != nil {
		return err
	}
	j, reader := table.add(process, streams, c)
	if c.spawned.NoInput {
		streams.endInput()
	}
	s.process, s.outlived = process, c.spawned.Outlives
	s.join(j, reader, map[string]int{"pid": process.Pid})
	return nil
}

// attach joins a process that was spawned before.
func (s *session) attach(text string) error {
	var request struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(text), &request); err != nil {
		return fmt.Errorf("smartvm-attach: %w", err)
	}
	j, reader, facts, dropped := s.server.jobs.open(request.PID)
	if j == nil {
		return &startError{fmt.Sprintf("%d: no such process", request.PID), exitNotFound}
	}
	s.process, s.outlived = j.process, true
	if j.streams.terminal {
		s.terminal = j.streams.stdin
	}
	s.join(j, reader, struct {
		jobFacts
		Dropped int64 `json:"dropped"`
	}{facts, dropped})
	return nil
}

// join says in a line of its own what process it is, and then moves its input and output.
func (s *session) join(j *job, reader *outring.Reader, header any) {
	line, _ := json.Marshal(header)
	go func() {
		s.channel.Write(append(line, '\n'))
		s.copyOutput(j, reader)
	}()
	go func() {
		io.CopyBuffer(struct{ io.Writer }{j.streams.stdin}, s.channel, make([]byte, pumpBuffer))
		// A client that is gone has not ended the input of a process that lives on.
		if !s.outlived || s.isOpen() {
			j.streams.endInput()
		}
	}()
}

// isOpen asks the client, for the end of its data is the same whether it has said so or is gone.
func (s *session) isOpen() bool {
	_, err := s.channel.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// copyOutput passes on what a job prints until its end, then says how it ended.
func (s *session) copyOutput(j *job, reader *outring.Reader) {
	defer reader.Close()
	to := map[int]io.Writer{streamOut: s.channel, streamErr: s.channel.Stderr()}
	for buffer := make([]byte, pumpBuffer); ; {
		stream, n, changed, err := reader.Next(buffer)
		switch {
		case err != nil:
			s.exit(j.process.Status())
			return
		case n > 0:
			if _, err := to[stream].Write(buffer[:n]); err != nil {
				return
			}
		default:
			select {
			case <-changed:
			case <-s.closed:
				return
			}
		}
	}
}
