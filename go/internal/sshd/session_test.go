package sshd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// background starts a command and answers the first line that it writes, and the rest.
func background(t *testing.T, session *ssh.Session, command string) (string, *bufio.Reader) {
	t.Helper()
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(command); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), lines
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Fatalf("process %d still runs", pid)
}

func TestInputAndOutputPassUnchangedAndHalfClosed(t *testing.T) {
	session := newSession(t, serve(t, nil).client())
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	session.Stdin = bytes.NewReader(data)
	out, err := session.Output("cat; echo end")
	if err != nil || sha256.Sum256(out) != sha256.Sum256(append(data, "end\n"...)) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
}

func TestASlowReaderHoldsTheProcessUp(t *testing.T) {
	f := serve(t, nil)
	client := f.client()
	session := newSession(t, client)
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	const total = 64 << 20
	if err := session.Start(fmt.Sprintf("head -c %d /dev/zero & echo $! > pid; wait; touch done", total)); err != nil {
		t.Fatal(err)
	}
	// The window is 2 MiB: with much more than that to write, the process cannot get to its end.
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(stdout, first); err != nil {
		t.Fatal(err)
	}
	run(t, client, "sleep 0.2")
	if _, err := os.Stat(filepath.Join(f.home, "done")); !os.IsNotExist(err) {
		t.Fatal("the output was taken without a reader")
	}
	rest, err := io.Copy(io.Discard, stdout)
	if err != nil || rest+1<<20 != total || session.Wait() != nil {
		t.Fatal(rest, err)
	}
}

func TestWhatALeaderLeavesBehindDoesNotHoldTheSession(t *testing.T) {
	client := serve(t, nil).client()
	stdout, _, code, _ := run(t, client, "head -c 60000 /dev/zero; sleep 60 & echo $!")
	if len(stdout) < 60000 || code != 0 {
		t.Fatal(len(stdout), code)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(stdout[60000:]))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal("it was killed, though its session ended well:", err)
	}
}

func TestSignalsReachTheGroup(t *testing.T) {
	client := serve(t, nil).client()
	session := newSession(t, client)
	_, rest := background(t, session, `trap 'echo caught; exit 4' USR1; echo up; sleep 60 & wait; wait`)
	if err := session.Signal(ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line, err := rest.ReadString('\n'); err != nil || line != "caught\n" {
		t.Fatalf("%q %v", line, err)
	}
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 4 {
		t.Fatal(err)
	}
}

func TestAClosedChannelAndALostConnectionKillTheGroup(t *testing.T) {
	f := serve(t, nil)
	for _, lose := range []func(*ssh.Client, *ssh.Session){
		func(_ *ssh.Client, s *ssh.Session) { s.Close() },
		func(c *ssh.Client, _ *ssh.Session) { c.Close() },
	} {
		client := f.client()
		session := newSession(t, client)
		pids, _ := background(t, session, "trap '' HUP TERM; sleep 60 & echo $$ $!; wait")
		lose(client, session)
		for field := range strings.FieldsSeq(pids) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			waitGone(t, pid)
		}
	}
}

func TestATerminal(t *testing.T) {
	session := newSession(t, serve(t, nil).client())
	if err := session.RequestPty("xterm", 30, 100, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	line, rest := background(t, session, `echo $TERM $(stty size); read x; stty size; exit 3`)
	if line != "xterm 30 100" {
		t.Fatalf("%q", line)
	}
	if err := session.WindowChange(40, 120); err != nil {
		t.Fatal(err)
	}
	stdin.Write([]byte("\n"))
	out, err := io.ReadAll(rest)
	if err != nil || string(out) != "\r\n40 120\r\n" {
		t.Fatalf("%q %v", out, err)
	}
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Fatal(err)
	}
}

func TestWhatKeepsATerminalOpenDoesNotHoldTheSession(t *testing.T) {
	session := newSession(t, serve(t, nil).client())
	if err := session.RequestPty("xterm", 30, 100, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	line, _ := background(t, session, "trap '' HUP; sleep 60 & echo $!")
	if err := session.Wait(); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestSFTP(t *testing.T) {
	f := serve(t, nil)
	client, err := sftp.NewClient(f.client())
	if err != nil {
		t.Fatal(err)
	}
	file, err := client.Create("a.txt")
	if err != nil {
		t.Fatal(err)
	}
	file.Write([]byte("hello"))
	file.Close()
	if got, err := os.ReadFile(filepath.Join(f.home, "a.txt")); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	client.Close()
}

func TestSFTPSendsItsExitStatus(t *testing.T) {
	channel, requests, err := serve(t, nil).client().OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	channel.CloseWrite()
	request := <-requests
	if request == nil || request.Type != "exit-status" || !bytes.Equal(request.Payload, []byte{0, 0, 0, 0}) {
		t.Fatalf("%+v", request)
	}
}

// A client that has said and heard all there is may close the channel at the end of the output: nothing is heard behind that.
func TestTheExitStatusComesBeforeTheEndOfTheOutput(t *testing.T) {
	client := serve(t, nil).client()
	for range 50 {
		channel, requests, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		channel.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{"echo all; exit 3"}))
		channel.CloseWrite()
		if output, err := io.ReadAll(channel); string(output) != "all\n" || err != nil {
			t.Fatalf("%q %v", output, err)
		}
		select {
		case request := <-requests:
			if request == nil || request.Type != "exit-status" || !bytes.Equal(request.Payload, []byte{0, 0, 0, 3}) {
				t.Fatalf("%+v", request)
			}
		default:
			t.Fatal("the output has ended, and nothing is known of the exit")
		}
		channel.Close()
	}
}

func TestForwarding(t *testing.T) {
	client := serve(t, nil).client()
	path := filepath.Join(t.TempDir(), "s")
	for _, network := range []string{"tcp", "unix"} {
		address := map[string]string{"tcp": "127.0.0.1:0", "unix": path}[network]
		listener, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			data, _ := io.ReadAll(conn)
			fmt.Fprintf(conn, "%d bytes", len(data))
		}()
		conn, err := client.Dial(network, listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(make([]byte, 100000))
		conn.(interface{ CloseWrite() error }).CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "100000 bytes" {
			t.Fatalf("%s: %q %v", network, got, err)
		}
		listener.Close()
		if _, err := client.Dial(network, listener.Addr().String()); err == nil {
			t.Fatalf("%s: reached nobody", network)
		}
	}
}

func TestGlobalRequests(t *testing.T) {
	after := make(chan struct{})
	f := serve(t, func(o *Options) {
		o.Requests = map[string]GlobalRequest{"echo@test": func(payload []byte) ([]byte, func(), error) {
			if !json.Valid(payload) {
				return nil, nil, errors.New("not JSON")
			}
			return payload, func() { close(after) }, nil
		}}
	})
	client := f.client()
	ok, reply, err := client.SendRequest("echo@test", true, []byte(`{"a":1}`))
	if !ok || string(reply) != `{"a":1}` || err != nil {
		t.Fatal(ok, string(reply), err)
	}
	<-after
	for name, payload := range map[string]string{"echo@test": "{", "unknown@test": "{}"} {
		if ok, _, err := client.SendRequest(name, true, []byte(payload)); ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}
