package files

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ask answers what an operation wrote.
func ask(t *testing.T, r Request, in io.Reader) ([]byte, error) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Serve(string(text), Session{In: in, Out: &out, Closed: make(chan struct{})})
	return out.Bytes(), err
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestATreeComesBackAsItWas(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	os.Mkdir(filepath.Join(from, "d"), 0o755)
	write(t, filepath.Join(from, "d", "\xff\n"), "odd", 0o640)
	write(t, filepath.Join(from, "big"), strings.Repeat("x", 3*maxRecord+1), 0o755)
	os.Link(filepath.Join(from, "big"), filepath.Join(from, "same"))
	os.Symlink("../away", filepath.Join(from, "link"))
	unix.Mkfifo(filepath.Join(from, "pipe"), 0o600)
	holes, _ := os.Create(filepath.Join(from, "holes"))
	holes.WriteAt([]byte("x"), 1<<30)
	holes.Truncate(1<<30 + 100)
	holes.Close()
	then := time.Unix(1234567890, 5)
	os.Chtimes(filepath.Join(from, "d"), then, then)
	tree, err := ask(t, Request{Op: "get", Path: []byte(from)}, nil)
	if err != nil || len(tree) > 4<<20 || !bytes.Contains(tree, []byte("ENOTSUP")) {
		t.Fatal(len(tree), err)
	}
	var kept bytes.Buffer
	for in := newDecoder(bytes.NewReader(tree)); ; {
		kind, payload, err := in.next()
		if err != nil {
			break
		}
		if kind != recordSkipped {
			e := encoder{bufioWriter(&kept)}
			e.record(kind, payload)
			e.out.Flush()
		}
	}
	if _, err := ask(t, Request{Op: "put", Path: []byte(to)}, &kept); err != nil {
		t.Fatal(err)
	}
	odd, _ := os.ReadFile(filepath.Join(to, "d", "\xff\n"))
	big, _ := os.ReadFile(filepath.Join(to, "same"))
	target, _ := os.Readlink(filepath.Join(to, "link"))
	if string(odd) != "odd" || len(big) != 3*maxRecord+1 || target != "../away" {
		t.Error(string(odd), len(big), target)
	}
	var a, b, sparse unix.Stat_t
	unix.Stat(filepath.Join(to, "big"), &a)
	unix.Stat(filepath.Join(to, "same"), &b)
	unix.Stat(filepath.Join(to, "holes"), &sparse)
	if a.Ino != b.Ino || a.Mode&0o777 != 0o755 || sparse.Size != 1<<30+100 || sparse.Blocks > 64 {
		t.Error(a.Ino, b.Ino, a.Mode, sparse.Size, sparse.Blocks)
	}
	if info, err := os.Stat(filepath.Join(to, "d")); err != nil || !info.ModTime().Equal(then) {
		t.Error(info, err)
	}
}

func TestAStreamThatIsCutChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old", 0o600)
	var whole bytes.Buffer
	e := encoder{bufioWriter(&whole)}
	e.json(recordEntry, entry{Path: []byte("."), Type: "file"})
	e.record(recordData, []byte("new"))
	e.record(recordFinish, nil)
	e.record(recordEnd, nil)
	e.out.Flush()
	end := whole.Len() - 2*5 // with the last two records the file is whole
	for length := range end {
		if _, err := ask(t, Request{Op: "put", Path: []byte(path)}, bytes.NewReader(whole.Bytes()[:length])); err == nil {
			t.Fatalf("%d bytes were enough", length)
		}
		content, _ := os.ReadFile(path)
		if entries, _ := os.ReadDir(dir); string(content) != "old" || len(entries) != 1 {
			t.Fatalf("after %d bytes: %q, %v", length, content, entries)
		}
	}
	if _, err := ask(t, Request{Op: "put", Path: []byte(path), Follow: true}, &whole); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if content, _ := os.ReadFile(path); string(content) != "new" || info.Mode() != 0o600 {
		t.Errorf("%q %v", content, info.Mode())
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)
	escape := &bytes.Buffer{}
	e := encoder{bufioWriter(escape)}
	e.json(recordEntry, entry{Path: []byte("../x"), Type: "file"})
	e.out.Flush()
	for _, c := range []struct {
		request Request
		in      io.Reader
		errno   string
	}{
		{Request{Op: "read", Path: []byte(filepath.Join(dir, "pipe"))}, nil, "EINVAL"},
		{Request{Op: "get", Path: []byte("/dev/null")}, nil, "EINVAL"},
		{Request{Op: "read", Path: []byte(dir)}, nil, "EISDIR"},
		{Request{Op: "stat", Path: []byte(dir + "/none")}, nil, "ENOENT"},
		{Request{Op: "stat", Path: []byte("relative")}, nil, "EINVAL"},
		{Request{Op: "chmod", Path: []byte(dir)}, nil, "EINVAL"},
		{Request{Op: "put", Path: []byte(filepath.Join(dir, "t"))}, escape, "EINVAL"},
		{Request{Op: "nonsense", Path: []byte("/")}, nil, ""},
	} {
		_, err := ask(t, c.request, c.in)
		var told struct{ Errno, Message string }
		if err == nil || json.Unmarshal(Describe(err), &told) != nil || told.Errno != c.errno || told.Message == "" {
			t.Errorf("%s %s: %v, told %+v", c.request.Op, c.request.Path, err, told)
		}
	}
}

func TestADirectoryIsMadeByANameThatEndsInASlash(t *testing.T) {
	mode := uint32(0o2710)
	for _, end := range []string{"", "/", "//", "/.", "/./"} {
		path := filepath.Join(t.TempDir(), "a", "b")
		for range 2 {
			if _, err := ask(t, Request{Op: "mkdir", Path: []byte(path + end), Recursive: true, Mode: &mode}, nil); err != nil {
				t.Errorf("%q: %v", end, err)
			}
		}
		var st unix.Stat_t
		if unix.Stat(path, &st); st.Mode&0o7777 != mode {
			t.Errorf("%q: %o", end, st.Mode)
		}
		then := int64(1234567890)
		tree := &bytes.Buffer{}
		e := encoder{bufioWriter(tree)}
		e.json(recordEntry, entry{Path: []byte("."), Type: "directory", Mode: &mode, MtimeNs: &then})
		e.record(recordEnd, nil)
		e.out.Flush()
		path = filepath.Join(path, "c", "d")
		if _, err := ask(t, Request{Op: "put", Path: []byte(path + end), Parents: true}, tree); err != nil {
			t.Errorf("%q: %v", end, err)
		}
		if unix.Stat(path, &st); st.Mode&0o7777 != mode || st.Mtim.Nano() != then {
			t.Errorf("%q: %o %d", end, st.Mode, st.Mtim.Nano())
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "", 0o600)
	if _, err := ask(t, Request{Op: "mkdir", Path: []byte(file), Recursive: true}, nil); !errors.Is(err, os.ErrExist) {
		t.Error("over a file:", err)
	}
}

func TestADirectoryIsMadeBySeveralAtOnce(t *testing.T) {
	path, results := filepath.Join(t.TempDir(), "a"), make(chan error)
	request, _ := json.Marshal(Request{Op: "mkdir", Path: []byte(path), Recursive: true})
	for range 2000 {
		start := make(chan struct{})
		for range 4 {
			go func() {
				<-start
				results <- Serve(string(request), Session{})
			}()
		}
		close(start)
		for range 4 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		os.Remove(path)
	}
}

func TestAFileThatCannotBeReadToItsEndIsLeftOut(t *testing.T) {
	// Its owner may open it, and reading fails while no secret is set.
	dir := "/proc/sys/net/ipv6/conf/lo"
	if _, err := os.ReadFile(dir + "/stable_secret"); !errors.Is(err, unix.EIO) {
		t.Skip("nothing here that fails to be read: ", err)
	}
	tree, err := ask(t, Request{Op: "get", Path: []byte(dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	kinds, left := map[byte]int{}, skipped{}
	for in := newDecoder(bytes.NewReader(tree)); kinds[recordEnd] == 0; {
		kind, payload, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		if kinds[kind]++; kind == recordSkipped {
			json.Unmarshal(payload, &left)
		}
	}
	if string(left.Path) != "stable_secret" || left.Errno != "EIO" || kinds[recordFinish] != len(entries)-1 {
		t.Error(left, kinds, len(entries))
	}
	if _, err := ask(t, Request{Op: "get", Path: []byte(dir + "/stable_secret")}, nil); !errors.Is(err, unix.EIO) {
		t.Error("what was asked for itself:", err)
	}
}

func TestAFileIsWrittenWhereALinkLeads(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "there"), "old", 0o600)
	os.MkdirAll(filepath.Join(dir, "far", "away"), 0o755)
	os.Mkdir(filepath.Join(dir, "far", "made"), 0o755)
	for name, target := range map[string]string{
		"whole": "there", "dangling": "new", "twice": "dangling2", "dangling2": dir + "/new2",
		"aside": "far/away", "around": "aside/../made/new3", "loop": "loop",
	} {
		os.Symlink(target, filepath.Join(dir, name))
	}
	put := func(name string) error {
		content := &bytes.Buffer{}
		e := encoder{bufioWriter(content)}
		e.json(recordEntry, entry{Path: []byte("."), Type: "file"})
		e.record(recordData, []byte("words"))
		e.record(recordFinish, nil)
		e.record(recordEnd, nil)
		e.out.Flush()
		_, err := ask(t, Request{Op: "put", Path: []byte(name), Follow: true}, content)
		return err
	}
	for name, lies := range map[string]string{
		"whole": "there", "dangling": "new", "twice": "new2", "around": "far/made/new3", "plain": "plain", "aside/../new4": "far/new4",
	} {
		if err := put(dir + "/" + name); err != nil {
			t.Error(name, err)
		}
		if content, err := os.ReadFile(filepath.Join(dir, lies)); string(content) != "words" {
			t.Errorf("%s: %q %v", name, content, err)
		}
	}
	for _, name := range []string{"whole", "dangling", "twice", "dangling2", "around", "loop"} {
		if _, err := os.Readlink(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := put(dir + "/loop"); !errors.Is(err, unix.ELOOP) {
		t.Error("a link to itself:", err)
	}
	// A link that leads to what has no name.
	r, w, _ := os.Pipe()
	defer r.Close()
	os.Symlink(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), filepath.Join(dir, "pipe"))
	err := put(dir + "/pipe")
	w.Close()
	if said, _ := io.ReadAll(r); err != nil || string(said) != "words" {
		t.Errorf("%q %v", said, err)
	}
}

func TestAWatchEndsWithItsClient(t *testing.T) {
	closed := make(chan struct{})
	r, w := io.Pipe()
	ended := make(chan error, 1)
	request, _ := json.Marshal(Request{Op: "watch", Path: []byte(t.TempDir()), Recursive: true})
	go func() { ended <- Serve(string(request), Session{Out: w, Closed: closed}) }()
	line := make([]byte, 64)
	if n, err := r.Read(line); err != nil || string(line[:n]) != "{\"kind\":\"ready\"}\n" {
		t.Fatal(string(line), err)
	}
	close(closed)
	if err := <-ended; err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

func bufioWriter(to io.Writer) *bufio.Writer { return bufio.NewWriter(to) }
