package ringlog

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T, limit int64) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console.log")
	log, err := Open(path, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return log, path
}

func readAll(t *testing.T, r *Reader) []byte {
	t.Helper()
	var all []byte
	for buffer := make([]byte, 7); ; {
		n, grown, err := r.Next(buffer)
		all = append(all, buffer[:n]...)
		if err == io.EOF || grown != nil {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, mode %v", err, info.Mode())
	}
	return info.Size()
}

func TestBothFilesStayWithinTheLimitAndHoldTheNewestBytes(t *testing.T) {
	log, path := open(t, 100)
	var stream []byte
	for i := range 500 {
		chunk := bytes.Repeat([]byte{byte(i)}, i%130+1)
		stream = append(stream, chunk...)
		log.Write(chunk)
		if total := size(t, path) + size(t, path+".1"); total > 100 {
			t.Fatalf("%d bytes kept of at most 100", total)
		}
	}
	kept := readAll(t, log.NewReader())
	if len(kept) < 50 || !bytes.HasSuffix(stream, kept) {
		t.Fatalf("%d bytes kept, which are not the stream's last", len(kept))
	}
}

func TestATailReaderBeginsAtTheLastLines(t *testing.T) {
	for name, limit := range map[string]int64{"in one file": 1 << 20, "in two": 90 << 10} {
		t.Run(name, func(t *testing.T) {
			log, _ := open(t, limit)
			lines := [][]byte{}
			for i := range 3000 {
				line := append(bytes.Repeat([]byte{'a' + byte(i%26)}, i%40), '\n')
				lines = append(lines, line)
				log.Write(line)
			}
			for _, tail := range []string{"", "not ended"} {
				log.Write([]byte(tail))
				for _, n := range []int{0, 1, 2, 10, 2000} {
					whole := n
					if tail != "" {
						whole--
					}
					want := append(bytes.Join(lines[len(lines)-max(whole, 0):], nil), tail...)
					if n == 0 {
						want = nil
					}
					if got := readAll(t, log.NewTailReader(n)); !bytes.Equal(got, want) {
						t.Fatalf("the last %d lines: %d bytes, want %d", n, len(got), len(want))
					}
				}
			}
			if all := readAll(t, log.NewTailReader(1<<30)); !bytes.Equal(all, readAll(t, log.NewReader())) {
				t.Fatal("more lines than there are are not all")
			}
		})
	}
}

func TestAReaderThatKeepsUpGetsEveryByte(t *testing.T) {
	log, _ := open(t, 64)
	reader := log.NewReader()
	var got, want []byte
	for i := range 200 {
		chunk := bytes.Repeat([]byte{byte(i)}, i%30)
		want = append(want, chunk...)
		log.Write(chunk)
		got = append(got, readAll(t, reader)...)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes read of %d", len(got), len(want))
	}
}

func TestASlowReaderLosesTheOldestBytes(t *testing.T) {
	log, _ := open(t, 20)
	reader := log.NewReader()
	log.Write([]byte("first"))
	if got := string(readAll(t, reader)); got != "first" {
		t.Fatal(got)
	}
	log.Write([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	log.Close()
	if got := string(readAll(t, reader)); got != "fghijklmnopqrstuvwxyz"[len("fghijklmnopqrstuvwxyz")-11:] {
		t.Fatal(got)
	}
	if _, _, err := reader.Next(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
}

func TestAWaitingReaderIsWoken(t *testing.T) {
	log, _ := open(t, 100)
	reader := log.NewReader()
	_, grown, err := reader.Next(make([]byte, 1))
	if err != nil {
		t.Fatal(err)
	}
	go log.Write([]byte("x"))
	<-grown
	if got := string(readAll(t, reader)); got != "x" {
		t.Fatal(got)
	}
}

func TestASymbolicLinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "console.log")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "console.log"), 100); err == nil {
		t.Fatal("followed a symbolic link")
	}
}
