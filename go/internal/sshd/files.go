package sshd

import (
	"syscall"

	"smartvm.dev/go/internal/files"
)

// An exec request that starts so is an operation on the guest's files, in JSON. Its channel carries what is read and written.
const filesPrefix = "smartvm-files "

// serveFiles does what is asked for, and ends the session with 0, or with 1 and the error in JSON on its standard error.
func (s *session) serveFiles(request string) {
	err := files.Serve(request, files.Session{In: s.channel, Out: s.channel, Closed: s.closed})
	if err == nil {
		s.exit(syscall.WaitStatus(0))
		return
	}
	s.channel.Stderr().Write(files.Describe(err))
	s.exit(syscall.WaitStatus(1 << 8))
}
