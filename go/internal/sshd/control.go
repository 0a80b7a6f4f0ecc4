package sshd

import (
	"encoding/json"
	"strings"
	"syscall"
)

const (
	// An exec request that starts so is for the agent itself: a verb and its parameters in JSON. It does what the global
	// request of that verb does, for SSH clients that send no global requests of their own.
	controlPrefix = "smartvm-agent "
	requestDomain = "@smartvm.dev"
)

// control answers a request for the agent itself on the channel's output, errors too: {"error": "…"}.
func (s *session) control(value string) {
	verb, payload, _ := strings.Cut(value, " ")
	then := s.answer(verb, payload)
	s.exit(syscall.WaitStatus(0))
	if then != nil {
		then()
	}
}

func (s *session) answer(verb, payload string) (then func()) {
	handler := s.server.options.Requests[verb+requestDomain]
	if handler == nil {
		s.answerError("unknown verb " + verb)
		return nil
	}
	reply, then, err := handler([]byte(payload))
	if err != nil {
		s.answerError(err.Error())
		return nil
	}
	s.channel.Write(reply)
	return then
}

func (s *session) answerError(message string) {
	json.NewEncoder(s.channel).Encode(map[string]string{"error": message})
}
