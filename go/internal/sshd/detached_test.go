package sshd

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"smartvm.dev/go/internal/guestconfig"
)

// start answers the session of a detached process that runs.
func start(t *testing.T, client *ssh.Client, request string) *ssh.Session {
	t.Helper()
	session := newSession(t, client)
	stdout, err := session.StdoutPipe()
	if err == nil {
		err = session.Start(request)
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(startedLine))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != startedLine {
		t.Fatalf("%q %v", line, err)
	}
	return session
}

func TestDetachedProcessesOutliveTheirConnection(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	client := serve(t, nil).client()
	request := `smartvm-exec {"argv":["sh","-c","echo dropped; read line < ` + fifo + `; echo $line > ` + fifo + `"],"detached":{}}`
	start(t, client, request)
	client.Close()
	client.Wait()
	if err := os.WriteFile(fifo, []byte("alive\n"), 0); err != nil {
		t.Fatal(err)
	}
	if answer, err := os.ReadFile(fifo); err != nil || string(answer) != "alive\n" {
		t.Fatalf("%q %v", answer, err)
	}
}

func TestADetachedProcessPrintsOnTheConsoleAndItsEndIsTheVMs(t *testing.T) {
	for command, want := range map[string]struct {
		console string
		status  syscall.WaitStatus
	}{
		"echo out; echo err >&2; cat; exit 7": {"out\nerr\n", 7 << 8},
		"echo last; kill -TERM $$":            {"last\n", syscall.WaitStatus(syscall.SIGTERM)},
	} {
		reader, console, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan syscall.WaitStatus, 1)
		f := serve(t, func(o *Options) {
			o.Console = console
			o.Ended = func(status syscall.WaitStatus) {
				console.Close()
				ended <- status
			}
		})
		request := `smartvm-exec {"argv":["sh","-c","` + command + `"],"detached":{"console":true,"endsVm":true}}`
		session := start(t, f.client(), request)
		// All that it prints is there before anybody is told of the end.
		printed := make([]byte, len(want.console))
		if _, err := io.ReadFull(reader, printed); err != nil {
			t.Fatal(err)
		}
		select {
		case status := <-ended:
			t.Fatalf("ended with %#x before its session was closed", status)
		case <-time.After(50 * time.Millisecond):
		}
		session.Close()
		select {
		case status := <-ended:
			if status != want.status {
				t.Errorf("%s: ended with %#x", command, status)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the end was not told")
		}
		// The two streams are two pipes: their order on the console is not theirs to say.
		if more, _ := io.ReadAll(reader); len(more) > 0 || !strings.Contains(string(printed), strings.SplitAfter(want.console, "\n")[0]) {
			t.Errorf("%s: the console has %q", command, printed)
		}
	}
}

func TestADetachedCommandThatCannotStartFailsAsAnyOther(t *testing.T) {
	ended := func(syscall.WaitStatus) { t.Error("told the end of what never began") }
	client := serve(t, func(o *Options) { o.Ended = ended }).client()
	for request, code := range map[string]int{
		`smartvm-exec {"argv":["nosuch"],"detached":{"endsVm":true}}`:                     127,
		`smartvm-exec {"argv":["/etc/passwd"],"detached":{"console":true,"endsVm":true}}`: 126,
	} {
		if _, stderr, got, _ := run(t, client, request); got != code || !strings.HasPrefix(stderr, "smartvm-agent: ") {
			t.Errorf("%s: %q %d", request, stderr, got)
		}
	}
}

func TestDefaultsAreOfCommandsThatSayNothingElse(t *testing.T) {
	client := serve(t, func(o *Options) {
		o.Defaults = guestconfig.Defaults{Env: map[string]string{"A": "vm", "B": "vm"}, User: "root", Cwd: "/etc"}
	}).client()
	for command, want := range map[string]string{
		`smartvm-exec {"argv":["sh","-c","echo $A $B $PWD"],"env":{"B":"own"}}`: "vm own /etc\n",
		`smartvm-exec {"argv":["pwd"],"cwd":"/"}`:                               "/\n",
		`echo $A`: "vm\n",
	} {
		if stdout, stderr, _, _ := run(t, client, command); stdout != want {
			t.Errorf("%s: %q %q", command, stdout, stderr)
		}
	}
	other := serve(t, func(o *Options) { o.Defaults.User = "x" }).client()
	if _, stderr, code, _ := run(t, other, `smartvm-exec {"argv":["true"]}`); code != 126 || !strings.Contains(stderr, "no such user") {
		t.Errorf("%q %d", stderr, code)
	}
}
