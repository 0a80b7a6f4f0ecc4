package outring

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// rest reads to the end, each stream's bytes behind its number.
func rest(t *testing.T, reader *Reader) string {
	t.Helper()
	var all strings.Builder
	buffer, last := make([]byte, 7), -1
	for {
		stream, n, changed, err := reader.Next(buffer)
		switch {
		case err == io.EOF:
			return all.String()
		case n == 0:
			<-changed
			continue
		}
		if stream != last {
			fmt.Fprintf(&all, "%d:", stream)
			last = stream
		}
		all.Write(buffer[:n])
	}
}

func TestStreamsAreReadInTheOrderInWhichTheyWereWritten(t *testing.T) {
	ring := New(1 << 20)
	out, errs := ring.Writer(1), ring.Writer(2)
	io.WriteString(out, "a long first line\n")
	first, dropped := ring.NewReader()
	io.WriteString(errs, "oops\n")
	io.WriteString(errs, "again\n")
	io.WriteString(out, "end\n")
	second, _ := ring.NewReader()
	ring.Close()
	want := "1:a long first line\n2:oops\nagain\n1:end\n"
	if got := rest(t, first); got != want || dropped != 0 {
		t.Errorf("%q %d", got, dropped)
	}
	if got := rest(t, second); got != want {
		t.Errorf("%q", got)
	}
}

func TestWithoutAReaderTheNewestBytesAreKept(t *testing.T) {
	const limit = 256 << 10
	ring := New(limit)
	for i := range 100_000 {
		fmt.Fprintf(ring.Writer(1+i%2), "%d\n", i)
	}
	io.WriteString(ring.Writer(1), "last\n")
	ring.Close()
	if ring.cost > limit {
		t.Errorf("takes %d bytes", ring.cost)
	}
	reader, dropped := ring.NewReader()
	got := 0
	var tail []byte
	for buffer := make([]byte, 1000); ; {
		_, n, _, err := reader.Next(buffer)
		if err != nil {
			break
		}
		got += n
		tail = append([]byte(nil), buffer[:n]...)
	}
	if want := int(ring.end - dropped); got != want || got == 0 || dropped == 0 || string(tail) != "last\n" {
		t.Errorf("%d bytes of %d, %d dropped, the last %q", got, want, dropped, tail)
	}
}

func TestAReaderHoldsTheWriterUpUntilItHasReadOrIsClosed(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	ring := New(128 << 10)
	reader, _ := ring.NewReader()
	idle, _ := ring.NewReader()
	written := make(chan struct{})
	go func() {
		ring.Writer(1).Write(data)
		ring.Close()
		close(written)
	}()
	select {
	case <-written:
		t.Fatal("nobody has read a byte")
	case <-time.After(30 * time.Millisecond):
	}
	idle.Close()
	if got := rest(t, reader); got != "1:"+string(data) {
		t.Errorf("%d bytes of %d", len(got)-2, len(data))
	}
	<-written
}
