package files

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A tree is a stream of records: a byte that says which, the length of what follows in four, and that. See docs/guest-protocol.md.
const (
	recordEntry   = 'E'
	recordData    = 'D'
	recordHole    = 'H'
	recordFinish  = 'F'
	recordSkipped = 'S'
	recordEnd     = 'Z'

	maxRecord = 256 << 10
)

// entry begins a file, or is all of a directory or link. What is not said stays as it is, or is as usual.
type entry struct {
	// Path is relative to the top of the tree, which is ".".
	Path    []byte  `json:"path"`
	Type    string  `json:"type"`
	Size    int64   `json:"size,omitempty"`
	Mode    *uint32 `json:"mode,omitempty"`
	UID     *int    `json:"uid,omitempty"`
	GID     *int    `json:"gid,omitempty"`
	MtimeNs *int64  `json:"mtimeNs,string,omitempty"`
	// Target is where a symbolic link leads, or the path in the tree of what a hard link is another name of.
	Target []byte `json:"target,omitempty"`
}

type skipped struct {
	Path  []byte `json:"path"`
	Errno string `json:"errno"`
}

type encoder struct{ out *bufio.Writer }

func (e encoder) record(kind byte, payload []byte) error {
	header := [5]byte{kind}
	binary.BigEndian.PutUint32(header[1:], uint32(len(payload)))
	e.out.Write(header[:])
	_, err := e.out.Write(payload)
	return err
}

func (e encoder) json(kind byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return e.record(kind, text)
}

type decoder struct {
	in     *bufio.Reader
	buffer []byte
}

func newDecoder(in io.Reader) *decoder {
	return &decoder{bufio.NewReaderSize(in, 64<<10), make([]byte, maxRecord)}
}

// next answers a record, whose payload is valid until the next call. A stream that is cut is an error.
func (d *decoder) next() (kind byte, payload []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(d.in, header[:]); err != nil {
		return 0, nil, cut(err)
	}
	length := binary.BigEndian.Uint32(header[1:])
	if length > maxRecord {
		return 0, nil, fmt.Errorf("a record of %d bytes", length)
	}
	payload = d.buffer[:length]
	if _, err := io.ReadFull(d.in, payload); err != nil {
		return 0, nil, cut(err)
	}
	return header[0], payload, nil
}

func cut(err error) error {
	return fmt.Errorf("the stream ended before its end: %w", err)
}
