package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"smartvm.dev/go/internal/jail"
	"smartvm.dev/go/internal/procid"
	"smartvm.dev/go/internal/spawn"
)

const actAsKeeper = "SMARTVM_TEST_KEEPER"

// The test binary starts VMMs too, becomes their keeper, and is by another name what jails them.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "confine") {
		runtime.LockOSThread()
		jail.Confine(os.Args)
	}
	if name := os.Getenv(actAsProbe); name != "" {
		probe(name)
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "--born" {
		main()
		os.Exit(0)
	}
	if os.Getenv(actAsKeeper) != "" {
		os.Unsetenv(actAsKeeper)
		runtime.LockOSThread()
		spawn.Main(os.Args)
	}
	os.Exit(m.Run())
}

type keeper struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	owner io.WriteCloser
	line  string
	// How many of the console waitNext has seen.
	lines int
	spawn.Identity
	client http.Client
}

// start runs a keeper whose VMM is a shell script.
func start(t *testing.T, script string, options ...string) *keeper {
	t.Helper()
	return startArgv(t, []string{"/bin/sh", "-c", script}, options...)
}

func startArgv(t *testing.T, argv []string, options ...string) *keeper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{t: t, dir: t.TempDir()}
	args := append([]string{"--id", "vm-1", "--dir", k.dir}, options...)
	k.cmd = exec.Command(self, append(append(args, "--"), argv...)...)
	k.cmd.Env = append(os.Environ(), actAsKeeper+"=1")
	k.cmd.Stderr = os.Stderr
	if k.owner, err = k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.cmd.Process.Kill(); k.cmd.Wait() })
	all, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	k.line = string(all)
	if err := json.Unmarshal(all, &k.Identity); err != nil {
		t.Fatalf("%q: %v", all, err)
	}
	k.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(k.dir, "keeper.sock"))
	}}
	t.Cleanup(k.client.CloseIdleConnections)
	return k
}

func (k *keeper) request(method, path, body string) *http.Response {
	k.t.Helper()
	request, err := http.NewRequest(method, "http://keeper"+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { response.Body.Close() })
	return response
}

func (k *keeper) call(method, path, body string, status int) string {
	k.t.Helper()
	response := k.request(method, path, body)
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		k.t.Fatalf("%s %s: %d %s (%v), want %d", method, path, response.StatusCode, answer, err, status)
	}
	return string(answer)
}

func textOf(t *testing.T, response *http.Response) string {
	t.Helper()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s (%v)", response.StatusCode, answer, err)
	}
	return string(answer)
}

// waitLine reads the console until a line says so.
func (k *keeper) waitLine(want string) *bufio.Reader {
	k.t.Helper()
	lines := bufio.NewReader(k.request("GET", "/console?follow=true", "").Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			k.t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.TrimSuffix(line, "\n") == want {
			return lines
		}
	}
}

func (k *keeper) wait() {
	k.t.Helper()
	if err := k.cmd.Wait(); err != nil {
		k.t.Fatalf("the keeper's exit: %v; it had said %q", err, k.line)
	}
}

func (k *keeper) exitFile() exitRecord {
	k.t.Helper()
	data, err := os.ReadFile(filepath.Join(k.dir, "exit.json"))
	if err != nil {
		k.t.Fatal(err)
	}
	return parseExit(k.t, string(data))
}

func parseExit(t *testing.T, data string) exitRecord {
	t.Helper()
	var record exitRecord
	if err := json.Unmarshal([]byte(data), &record); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	for _, iso := range []string{record.StartedAt, record.ExitedAt} {
		if _, err := time.Parse(time.RFC3339, iso); err != nil {
			t.Fatal(err)
		}
	}
	return record
}

// waitGone waits until a process that is not our child has been reaped.
func waitGone(t *testing.T, pid int, startTime string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if now, err := procid.StartTime(pid); err != nil || now != startTime {
			return
		}
	}
	t.Fatalf("process %d still runs", pid)
}

func wantSignal(t *testing.T, record exitRecord, signal string) {
	t.Helper()
	if record.Signal == nil || *record.Signal != signal || record.ExitCode != nil {
		t.Fatalf("%+v, want signal %s", record, signal)
	}
}

func wantCode(t *testing.T, record exitRecord, code int) {
	t.Helper()
	if record.ExitCode == nil || *record.ExitCode != code || record.Signal != nil {
		t.Fatalf("%+v, want exit code %d", record, code)
	}
}

func wantMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Fatalf("%s: %v (%v), want mode %v", path, info.Mode(), err, mode)
	}
}

func ignoresSignals(t *testing.T, k *keeper) {
	t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE} {
		if err := syscall.Kill(k.KeeperPid, sig); err != nil {
			t.Fatal(err)
		}
	}
}

// waitNext waits until the last line of the console says so.
func (k *keeper) waitNext(want string) {
	k.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		lines := strings.Split(k.call("GET", "/console", "", 200), "\n")
		if k.lines < len(lines)-1 {
			if got := lines[len(lines)-2]; got != want {
				k.t.Fatalf("%q, want %q", got, want)
			}
			k.lines = len(lines) - 1
			return
		}
	}
	k.t.Fatalf("no line %q", want)
}
