// Package files reads, writes and watches the guest's files for the host, with the agent's own rights.
package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Request is one operation. Names are bytes, which JSON has as base64: a guest's need not be UTF-8.
type Request struct {
	Op   string `json:"op"`
	Path []byte `json:"path"`
	// To is the new name of a rename, or where a link leads.
	To        []byte  `json:"to"`
	Recursive bool    `json:"recursive"`
	Follow    bool    `json:"follow"`
	Mode      *uint32 `json:"mode"`
	UID       *int    `json:"uid"`
	GID       *int    `json:"gid"`
	// Offset and Length are of a read; without Length it goes to the end.
	Offset int64  `json:"offset"`
	Length *int64 `json:"length"`
	// Of a put: parents are made, and the file is written where it is, or added to.
	Parents bool `json:"parents"`
	InPlace bool `json:"inPlace"`
	Append  bool `json:"append"`
}

// Session is the channel of one request. Closed is closed when the client is gone.
type Session struct {
	In     io.Reader
	Out    io.Writer
	Closed <-chan struct{}
}

var operations = map[string]func(*Request, Session) error{
	"stat": stat, "list": list, "mkdir": mkdir, "rename": rename, "remove": remove, "chmod": chmod, "chown": chown,
	"symlink": symlink, "readlink": readlink, "read": read, "get": get, "put": put, "watch": watch,
}

// Serve does what a request in JSON asks for. What it answers goes to the session, an error is for Describe.
func Serve(text string, session Session) error {
	request := &Request{}
	if err := json.Unmarshal([]byte(text), request); err != nil {
		return err
	}
	operation := operations[request.Op]
	if operation == nil {
		return fmt.Errorf("unknown operation %.32q", request.Op)
	}
	if len(request.Path) == 0 || request.Path[0] != '/' {
		return &Error{"EINVAL", "a path is absolute"}
	}
	return operation(request, session)
}

// Error is a failure that has the name of no errno from the kernel.
type Error struct{ Errno, Message string }

func (e *Error) Error() string { return e.Message }

// Describe is an error as the host is told of it.
func Describe(err error) []byte {
	answer := struct {
		Errno   string `json:"errno,omitempty"`
		Message string `json:"message"`
	}{Message: err.Error()}
	var own *Error
	var errno unix.Errno
	switch {
	case errors.As(err, &own):
		answer.Errno = own.Errno
	case errors.As(err, &errno):
		answer.Errno = unix.ErrnoName(errno)
	}
	text, _ := json.Marshal(answer)
	return append(text, '\n')
}

func answer(out io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}
