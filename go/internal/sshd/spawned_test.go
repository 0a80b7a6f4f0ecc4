package sshd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// joined is the session of a spawned process.
type joined struct {
	t       *testing.T
	session *ssh.Session
	input   io.WriteCloser
	output  *bufio.Reader
	header  struct {
		jobFacts
		Dropped int64 `json:"dropped"`
	}
}

func join(t *testing.T, client *ssh.Client, request string) *joined {
	t.Helper()
	j := &joined{t: t, session: newSession(t, client)}
	input, err := j.session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	line, output := background(t, j.session, request)
	if err := json.Unmarshal([]byte(line), &j.header); err != nil || j.header.PID == 0 {
		t.Fatalf("%q %v", line, err)
	}
	j.input, j.output = input, output
	return j
}

func spawn(t *testing.T, client *ssh.Client, outlives bool, script string) *joined {
	t.Helper()
	return join(t, client, fmt.Sprintf(`smartvm-exec {"argv":["sh","-c",%q],"spawned":{"outlives":%t}}`, script, outlives))
}

func attach(t *testing.T, client *ssh.Client, pid int) *joined {
	t.Helper()
	return join(t, client, fmt.Sprintf(`smartvm-attach {"pid":%d}`, pid))
}

func (j *joined) line() string {
	j.t.Helper()
	line, err := j.output.ReadString('\n')
	if err != nil {
		j.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (j *joined) end() (rest string, exit error) {
	j.t.Helper()
	all, err := io.ReadAll(j.output)
	if err != nil {
		j.t.Fatal(err)
	}
	return string(all), j.session.Wait()
}

func listed(t *testing.T, client *ssh.Client) map[int]jobFacts {
	t.Helper()
	stdout, _, _, _ := run(t, client, "smartvm-agent processes")
	var answer struct{ Processes []jobFacts }
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatalf("%q %v", stdout, err)
	}
	all := map[int]jobFacts{}
	for _, facts := range answer.Processes {
		all[facts.PID] = facts
	}
	return all
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestASpawnedProcessIsReachedAgainOverAnotherConnection(t *testing.T) {
	f := serve(t, nil)
	first := f.client()
	j := spawn(t, first, true, "echo one; read a; echo got $a; cat; echo over >&2; exit 3")
	if j.line() != "one" {
		t.Fatal("not the output")
	}
	pid := j.header.PID
	first.Close()
	first.Wait()

	client := f.client()
	facts := listed(t, client)[pid]
	if !facts.Outlives || facts.Argv[0] != "sh" || facts.User != "root" || facts.StartedAt == 0 || facts.ExitCode != nil {
		t.Errorf("listed as %+v", facts)
	}
	// The input has not ended with the one who has left.
	j = attach(t, client, pid)
	if j.line() != "one" || j.header.Dropped != 0 || !j.header.Outlives {
		t.Errorf("not what it printed meanwhile: %+v", j.header)
	}
	io.WriteString(j.input, "two\n")
	if line := j.line(); line != "got two" {
		t.Errorf("%q", line)
	}
	j.input.Close()
	if _, err := j.end(); err == nil || err.(*ssh.ExitError).ExitStatus() != 3 {
		t.Errorf("ended with %v", err)
	}

	if facts := listed(t, client)[pid]; facts.ExitCode == nil || *facts.ExitCode != 3 {
		t.Errorf("listed as %+v", facts)
	}
	j = attach(t, client, pid)
	if rest, err := j.end(); rest != "one\ngot two\n" || err.(*ssh.ExitError).ExitStatus() != 3 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestASpawnedProcessEndsWithItsSessionUnlessItOutlivesIt(t *testing.T) {
	f := serve(t, nil)
	client := f.client()
	j := spawn(t, client, false, "echo up; cat")
	j.line()
	other := f.client()
	watcher := attach(t, other, j.header.PID)
	if watcher.line() != "up" {
		t.Error("not what it had printed")
	}
	// The watcher's end is not the process's.
	attach(t, other, j.header.PID).session.Close()
	io.WriteString(j.input, "still\n")
	if line := watcher.line(); line != "still" {
		t.Errorf("%q", line)
	}
	client.Close()
	if _, err := watcher.end(); err == nil || err.(*ssh.ExitError).Signal() != "KILL" {
		t.Errorf("ended with %v", err)
	}
	until(t, "it is still listed", func() bool { return len(listed(t, other)) == 0 })
}

func TestASpawnedProcessWithoutInputWaitsForNone(t *testing.T) {
	client := serve(t, nil).client()
	j := join(t, client, `smartvm-exec {"argv":["cat"],"spawned":{"noInput":true}}`)
	if rest, err := j.end(); rest != "" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

func TestSpawnedProcessesAreSignalledByAnyName(t *testing.T) {
	client := serve(t, nil).client()
	j := spawn(t, client, true, "trap 'echo winch' WINCH; echo up; while :; do read a || exit; done")
	j.line()
	signal := func(pid int, name string) string {
		stdout, _, _, _ := run(t, client, fmt.Sprintf(`smartvm-agent signal {"pid":%d,"signal":"%s"}`, pid, name))
		return strings.TrimSpace(stdout)
	}
	if answer := signal(j.header.PID, "TERM"); answer != `{"signaled":true}` {
		t.Error(answer)
	}
	if _, err := j.end(); err == nil || err.(*ssh.ExitError).Signal() != "TERM" {
		t.Errorf("ended with %v", err)
	}
	for pid, want := range map[int]string{j.header.PID: `{"signaled":false}`, 1: `{"signaled":false}`} {
		if answer := signal(pid, "STOP"); answer != want {
			t.Error(pid, answer)
		}
	}
	if answer := signal(1, "NOSUCH"); !strings.Contains(answer, `"error"`) {
		t.Error(answer)
	}
}

func TestWhatCannotBeSpawnedOrReachedSaysSo(t *testing.T) {
	client := serve(t, nil).client()
	for request, code := range map[string]int{
		`smartvm-exec {"argv":["nosuch"],"spawned":{}}`:      127,
		`smartvm-exec {"argv":["/etc/passwd"],"spawned":{}}`: 126,
		`smartvm-attach {"pid":1}`:                           127,
		`smartvm-attach {`:                                   126,
	} {
		if stdout, stderr, got, _ := run(t, client, request); got != code || stdout != "" || !strings.HasPrefix(stderr, "smartvm-agent: ") {
			t.Errorf("%s: %q %q %d", request, stdout, stderr, got)
		}
	}
}

func TestEndedProcessesAreForgottenTheOldestFirst(t *testing.T) {
	client := serve(t, nil).client()
	var pids []int
	for range maxEndedJobs + 3 {
		j := spawn(t, client, true, "true")
		j.end()
		pids = append(pids, j.header.PID)
	}
	until(t, "not the newest are listed", func() bool {
		all := listed(t, client)
		_, oldest := all[pids[2]]
		_, kept := all[pids[3]]
		return len(all) == maxEndedJobs && !oldest && kept
	})
}

func TestASpawnedTerminalIsLeftAndJoined(t *testing.T) {
	client := serve(t, nil).client()
	session := newSession(t, client)
	if err := session.RequestPty("xterm", 30, 100, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	line, rest := background(t, session, `smartvm-exec {"argv":["sh","-c","stty size; read x; stty size"],"spawned":{"outlives":true}}`)
	var begun struct{ PID int }
	if err := json.Unmarshal([]byte(line), &begun); err != nil {
		t.Fatal(line, err)
	}
	if size, _ := rest.ReadString('\n'); size != "30 100\r\n" {
		t.Fatalf("%q", size)
	}
	session.Close()
	again := newSession(t, client)
	stdin, err := again.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	_, rest = background(t, again, fmt.Sprintf(`smartvm-attach {"pid":%d}`, begun.PID))
	if err := again.WindowChange(40, 120); err != nil {
		t.Fatal(err)
	}
	stdin.Write([]byte("\n"))
	if out, err := io.ReadAll(rest); err != nil || string(out) != "30 100\r\n\r\n40 120\r\n" {
		t.Fatalf("%q %v", out, err)
	}
}

func TestALoginShell(t *testing.T) {
	f := serve(t, nil)
	session := newSession(t, f.client())
	session.Stdin = strings.NewReader("echo $0 $PWD\n")
	out, err := session.Output(`smartvm-exec {"login":true}`)
	if err != nil || string(out) != "-sh "+f.home+"\n" {
		t.Fatalf("%q %v", out, err)
	}
}
