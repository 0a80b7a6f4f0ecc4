package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"smartvm.dev/go/internal/spawn"
)

func TestTheExitIsToldAndWrittenDown(t *testing.T) {
	k := start(t, "echo up; read line; exit 7")
	k.waitLine("up")
	var state struct {
		ID    string      `json:"id"`
		State string      `json:"state"`
		Exit  *exitRecord `json:"exit"`
		spawn.Identity
	}
	if err := json.Unmarshal([]byte(k.call("GET", "/", "", 200)), &state); err != nil {
		t.Fatal(err)
	}
	if state.ID != "vm-1" || state.State != "running" || state.Exit != nil || state.Identity != k.Identity {
		t.Fatalf("%+v, announced %+v", state, k.Identity)
	}
	if k.KeeperPid != k.cmd.Process.Pid || k.VMMPid == 0 || k.VMMStartTime == "" || len(k.BootID) != 36 {
		t.Fatalf("%+v", k.Identity)
	}
	for _, name := range []string{"keeper.sock", "console.log", "vmm.log"} {
		wantMode(t, filepath.Join(k.dir, name), 0o600)
	}
	pending := k.request("GET", "/console?follow=true", "")
	exit := k.request("GET", "/exit", "")
	k.call("PUT", "/console", "go\n", 204)
	told := parseExit(t, textOf(t, exit))
	wantCode(t, told, 7)
	var console bytes.Buffer
	if _, err := console.ReadFrom(pending.Body); err != nil || console.String() != "up\n" {
		t.Fatalf("%q %v", console.String(), err)
	}
	k.wait()
	if written := k.exitFile(); *written.ExitCode != 7 || written.Reason != "exited" || written.ExitedAt != told.ExitedAt {
		t.Fatalf("%+v", written)
	}
	wantMode(t, filepath.Join(k.dir, "exit.json"), 0o600)
	if _, err := os.Stat(filepath.Join(k.dir, "keeper.sock")); !os.IsNotExist(err) {
		t.Fatal("keeper.sock is left")
	}
}

func TestAnOwnerThatGoesEndsTheVMAndItsDirectory(t *testing.T) {
	k := start(t, "trap '' TERM; echo up; while :; do sleep 1; done")
	k.waitLine("up")
	exit := k.request("GET", "/console?follow=true", "")
	k.owner.Close()
	var console bytes.Buffer
	console.ReadFrom(exit.Body)
	k.wait()
	waitGone(t, k.VMMPid, k.VMMStartTime)
	if _, err := os.Stat(k.dir); !os.IsNotExist(err) {
		t.Fatal("the directory is left:", err)
	}
}

func TestOwnerGoneIsTheReasonTold(t *testing.T) {
	k := start(t, "echo up; exec sleep 60")
	k.waitLine("up")
	exit := k.request("GET", "/exit", "")
	k.owner.Close()
	record := parseExit(t, textOf(t, exit))
	wantSignal(t, record, "SIGTERM")
	if record.Reason != "owner-gone" {
		t.Fatalf("%+v", record)
	}
	k.wait()
}

func TestADetachedVMOutlivesItsOwner(t *testing.T) {
	k := start(t, "echo up; read line; exit 3")
	k.call("PUT", "/detached", "", 204)
	k.owner.Close()
	k.waitLine("up")
	ignoresSignals(t, k)
	k.call("PUT", "/console", "go\n", 204)
	k.wait()
	wantCode(t, k.exitFile(), 3)
}

func TestSIGTERMEndsAVMMThatIgnoresIt(t *testing.T) {
	k := start(t, "trap 'echo asked' TERM; sleep 60 & echo up; while :; do wait; done")
	k.waitLine("up")
	syscall.Kill(k.KeeperPid, syscall.SIGTERM)
	k.waitLine("asked")
	k.wait()
	record := k.exitFile()
	wantSignal(t, record, "SIGKILL")
	if record.Reason != "exited" {
		t.Fatalf("%+v", record)
	}
}

func TestTheVMMDiesWithItsKeeper(t *testing.T) {
	k := startArgv(t, []string{"sleep", "60"})
	k.cmd.Process.Kill()
	waitGone(t, k.VMMPid, k.VMMStartTime)
}

func TestAKilledVMMLeavesNoDescendants(t *testing.T) {
	k := start(t, "(setsid sh -c 'echo $$; sleep 60') & wait")
	lines := k.waitLineAny()
	pid, err := strconv.Atoi(lines)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(k.VMMPid, syscall.SIGKILL)
	k.wait()
	wantSignal(t, k.exitFile(), "SIGKILL")
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Fatalf("the VMM's grandchild %d: %v", pid, err)
	}
}

func TestTheVMMHasASessionOfItsOwnAndDefaultSignals(t *testing.T) {
	k := start(t, `set -- $(cat /proc/$$/stat); echo "session $6 of $$"; grep SigIgn /proc/$$/status; read line`)
	pid := strconv.Itoa(k.VMMPid)
	ignored := k.waitLine("session " + pid + " of " + pid)
	line, err := ignored.ReadString('\n')
	if err != nil || strings.TrimSpace(strings.TrimPrefix(line, "SigIgn:")) != "0000000000000000" {
		t.Fatal(line, err)
	}
}

func TestAVMMThatCannotStartIsAnError(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, "--id", "vm-1", "--dir", dir, "--", filepath.Join(dir, "absent"))
	cmd.Env = append(os.Environ(), actAsKeeper+"=1")
	stdout, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Fatal(err)
	}
	var answer struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(stdout, &answer); err != nil || answer.Error.Code != "VMM_SPAWN_FAILED" ||
		!strings.Contains(answer.Error.Message, "absent") {
		t.Fatalf("%s %v", stdout, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keeper.sock")); !os.IsNotExist(err) {
		t.Fatal("keeper.sock is left")
	}
}

func TestAnExecutableOfTheWrongFormatIsAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vmm")
	if err := os.WriteFile(path, []byte("\x7fELF of no machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, _ := os.Executable()
	cmd := exec.Command(self, "--id", "vm-1", "--dir", dir, "--", path)
	cmd.Env = append(os.Environ(), actAsKeeper+"=1")
	stdout, _ := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(stdout, []byte("exec format error")) {
		t.Fatalf("%s", stdout)
	}
}
