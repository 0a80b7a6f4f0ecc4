package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smartvm.dev/go/internal/procid"
)

// playsVMM serves the VMM's API of a keeper whose VMM is a script.
type playsVMM struct {
	mu    sync.Mutex
	state string
	calls []string
	// Asked for each call but GET /.
	refuses func(call string) bool
}

func playVMM(t *testing.T, k *keeper, record string) *playsVMM {
	t.Helper()
	path := filepath.Join(k.dir, "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &playsVMM{state: "Running"}
	server := &http.Server{Handler: p}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	text := fmt.Sprintf(`{"socketPath":%q,"journal":{"taps":[],"sockets":[],"folders":[]}%s}`, path, record)
	if err := os.WriteFile(filepath.Join(k.dir, "vm.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *playsVMM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == "GET" {
		fmt.Fprintf(w, `{"state":%q}`, p.state)
		return
	}
	call := fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body)
	p.calls = append(p.calls, call)
	if p.refuses != nil && p.refuses(call) {
		w.WriteHeader(503)
		return
	}
	if strings.Contains(call, "Paused") {
		p.state = "Paused"
	}
	w.WriteHeader(204)
}

func (p *playsVMM) set(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
}

func (p *playsVMM) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// followed reads events, each when it comes.
type followed struct {
	t      *testing.T
	events chan map[string]any
}

func (k *keeper) follow(query string) *followed {
	k.t.Helper()
	body := k.request("GET", "/events"+query, "").Body
	k.t.Cleanup(func() { body.Close() })
	f := &followed{t: k.t, events: make(chan map[string]any, maxEvents+2)}
	go func() {
		defer close(f.events)
		for lines := bufio.NewScanner(body); lines.Scan(); {
			var event map[string]any
			json.Unmarshal(lines.Bytes(), &event)
			f.events <- event
		}
	}()
	return f
}

func (f *followed) next(name string) map[string]any {
	f.t.Helper()
	select {
	case event := <-f.events:
		if event["event"] != name {
			f.t.Fatalf("%v, want %s", event, name)
		}
		return event
	case <-time.After(30 * time.Second):
		f.t.Fatal("no event ", name)
		return nil
	}
}

func (k *keeper) stateFile() status {
	k.t.Helper()
	var now status
	text, err := os.ReadFile(filepath.Join(k.dir, "state.json"))
	if err == nil {
		err = json.Unmarshal(text, &now)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return now
}

func TestTheStateIsKeptAndTold(t *testing.T) {
	k := start(t, "read line; exit 0")
	vmm := playVMM(t, k, "")
	path := filepath.Join(k.dir, "state.json")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal("a VM that is being started has a state: ", err)
	}
	k.call("PUT", "/limits", `{"timeoutMs":1000}`, 409)
	follows := k.follow("")
	k.call("PUT", "/state", `{"state":"running"}`, 204)
	follows.next("start")
	wantMode(t, path, 0o600)
	started := k.stateFile()
	if started.State != running || started.StartedAt == "" || started.ChangedAt != started.StartedAt {
		t.Fatalf("%+v", started)
	}
	vmm.set("Paused")
	k.call("PUT", "/state", `{"state":"paused"}`, 204)
	if event := follows.next("pause"); event["state"] != paused {
		t.Fatal(event)
	}
	if now := k.stateFile(); now.State != paused || now.StartedAt != started.StartedAt {
		t.Fatalf("%+v", now)
	}
	// A word that comes too late: the VMM knows better.
	k.call("PUT", "/state", `{"state":"running"}`, 204)
	if now := k.stateFile(); now.State != paused {
		t.Fatalf("%+v", now)
	}
	standing := k.follow("?from=now")
	if event := standing.next("state"); event["state"] != paused {
		t.Fatal(event)
	}
	k.call("PUT", "/state", `{"state":"stopping"}`, 204)
	k.call("PUT", "/console", "\n", 204)
	for _, f := range []*followed{follows, standing} {
		f.next("stop")
		exit := f.next("exit")["exit"].(map[string]any)
		if exit["reason"] != stopped || exit["exitCode"] != 0.0 {
			t.Fatal(exit)
		}
		if _, more := <-f.events; more {
			t.Fatal("an event after the exit")
		}
	}
	k.wait()
	if exit := k.exitFile(); exit.Reason != stopped {
		t.Fatalf("%+v", exit)
	}
}

func TestEventsAreBounded(t *testing.T) {
	log := newEventLog()
	for i := range 3 * maxEvents {
		log.add(i)
	}
	lines, end, _ := log.from(0)
	if len(lines) != maxEvents || string(lines[0]) != fmt.Sprintln(2*maxEvents) || end != 3*maxEvents {
		t.Fatal(len(lines), string(lines[0]), end)
	}
	if lines, _, grown := log.from(end); len(lines) != 0 || grown == nil {
		t.Fatal(lines)
	}
}

func TestBodiesThatAreNoState(t *testing.T) {
	k := start(t, "read line")
	for _, body := range []string{"", "{}", `{"state":"off"}`, `{"state":3}`, `{"state":"running","onTimeout":"burn"}`,
		`{"state":"running","timeoutMs":0}`, `{"state":"running","timeoutMs":-1}`, `{"state":"running","timeoutMs":1.5}`,
		`{"state":"running","timeoutMs":31622400001}`, `{"state":"running","idleTimeoutMs":"1s"}`,
		`{"state":"` + strings.Repeat("x", maxLifeBody) + `"}`} {
		k.call("PUT", "/state", body, 400)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "state.json")); !os.IsNotExist(err) {
		t.Fatal("a state is written:", err)
	}
}

func TestTheTimeIsUp(t *testing.T) {
	k := start(t, "trap 'exit 0' TERM; sleep 60 & echo up; wait")
	vmm := playVMM(t, k, "")
	k.waitLine("up")
	vmm.refuses = func(call string) bool { return strings.Contains(call, "CtrlAltDel") }
	follows := k.follow("")
	k.call("PUT", "/state", `{"state":"running","timeoutMs":50}`, 204)
	if event := follows.next("start"); event["expiresAt"] == nil {
		t.Fatal(event)
	}
	if event := follows.next("deadline"); event["cause"] != timeout || event["action"] != "stop" || event["expiresAt"] != nil {
		t.Fatal(event)
	}
	follows.next("exit")
	k.wait()
	record := k.exitFile()
	wantCode(t, record, 0)
	if record.Reason != timeout || !slices.Equal(vmm.heard(), []string{`PUT /actions {"action_type":"SendCtrlAltDel"}`}) {
		t.Fatal(record, vmm.heard())
	}
}

func TestAStopThatIsNotCarriedOutLeavesTheLimits(t *testing.T) {
	k := start(t, "trap '' TERM; echo up; while :; do sleep 0.01; done")
	vmm := playVMM(t, k, "")
	k.waitLine("up")
	k.call("PUT", "/state", `{"state":"stopping"}`, 204)
	if _, err := os.Stat(filepath.Join(k.dir, "state.json")); !os.IsNotExist(err) {
		t.Fatal("a VM that is being started has a state: ", err)
	}
	vmm.set("Paused")
	k.call("PUT", "/state", `{"state":"paused","timeoutMs":60000}`, 204)
	k.call("PUT", "/state", `{"state":"stopping"}`, 204)
	k.call("PUT", "/limits", `{"timeoutMs":100}`, 204)
	k.wait()
	if exit := k.exitFile(); exit.Reason != timeout {
		t.Fatalf("%+v", exit)
	}
}

func TestAPausedGuestIsNotAsked(t *testing.T) {
	k := start(t, "trap '' TERM; echo up; while :; do sleep 0.01; done")
	vmm := playVMM(t, k, "")
	k.waitLine("up")
	vmm.set("Paused")
	k.call("PUT", "/state", `{"state":"paused"}`, 204)
	k.call("PUT", "/limits", `{"timeoutMs":20}`, 204)
	k.wait()
	wantSignal(t, k.exitFile(), "SIGKILL")
	if len(vmm.heard()) > 0 {
		t.Fatal(vmm.heard())
	}
}

func TestALimitIsSetAnewAndRemoved(t *testing.T) {
	k := start(t, "trap '' TERM; echo up; while :; do sleep 0.01; done")
	playVMM(t, k, "")
	k.waitLine("up")
	follows := k.follow("")
	k.call("PUT", "/state", `{"state":"running","timeoutMs":60000}`, 204)
	follows.next("start")
	k.call("PUT", "/limits", `{"timeoutMs":null}`, 204)
	if event := follows.next("limits"); event["expiresAt"] != nil {
		t.Fatal(event)
	}
	k.call("PUT", "/limits", `{"idleTimeoutMs":60000}`, 204)
	follows.next("limits")
	k.call("PUT", "/limits", `{"timeoutMs":20}`, 204)
	if event := follows.next("limits"); event["idleTimeoutMs"] != 60000.0 {
		t.Fatal(event)
	}
	if event := follows.next("deadline"); event["cause"] != timeout {
		t.Fatal(event)
	}
	// The guest takes its time.
	k.call("PUT", "/limits", `{"timeoutMs":60000}`, 409)
	k.call("GET", "/hold", "", 409)
	syscall.Kill(k.VMMPid, syscall.SIGKILL)
	k.wait()
}

func TestTheTimeIsUpAndTheVMIsPaused(t *testing.T) {
	k := start(t, "read line")
	vmm := playVMM(t, k, "")
	var once sync.Once
	vmm.refuses = func(string) (first bool) {
		once.Do(func() { first = true })
		return first
	}
	follows := k.follow("")
	k.call("PUT", "/state", `{"state":"running","timeoutMs":20,"onTimeout":"pause"}`, 204)
	follows.next("start")
	if event := follows.next("deadline"); event["action"] != "pause" || event["state"] != running {
		t.Fatal(event)
	}
	if event := follows.next("pause"); event["state"] != paused || event["expiresAt"] != nil {
		t.Fatal(event)
	}
	k.call("GET", "/hold", "", 409)
	// It is not a snapshot's to resume it.
	vmm.set("Running")
	k.call("PUT", "/state", `{"state":"running","afterSnapshot":true}`, 204)
	follows.next("resume")
	follows.next("pause")
	// One that is resumed has no limit of that kind any more.
	vmm.set("Running")
	k.call("PUT", "/state", `{"state":"running"}`, 204)
	follows.next("resume")
	// A VMM that says no to the pause of a paused VM.
	vmm.set("Paused")
	vmm.mu.Lock()
	vmm.refuses = func(string) bool { return true }
	vmm.mu.Unlock()
	k.call("PUT", "/limits", `{"timeoutMs":20}`, 204)
	follows.next("limits")
	follows.next("deadline")
	follows.next("pause")
	if len(vmm.heard()) != 4 {
		t.Fatal(vmm.heard())
	}
}

func TestTheIdleClockRunsWhileNobodyHolds(t *testing.T) {
	k := start(t, "read line")
	vmm := playVMM(t, k, "")
	follows := k.follow("")
	hold := k.request("GET", "/hold", "")
	if hold.StatusCode != 200 {
		t.Fatal(hold.Status)
	}
	k.call("PUT", "/state", `{"state":"running","idleTimeoutMs":30,"onTimeout":"pause"}`, 204)
	follows.next("start")
	time.Sleep(100 * time.Millisecond)
	if len(vmm.heard()) > 0 {
		t.Fatal("the VM is in use: ", vmm.heard())
	}
	hold.Body.Close()
	if event := follows.next("deadline"); event["cause"] != idleTimeout {
		t.Fatal(event)
	}
	follows.next("pause")
	// Paused, it is not idle; resumed, the clock begins anew.
	time.Sleep(100 * time.Millisecond)
	vmm.set("Running")
	k.call("PUT", "/state", `{"state":"running"}`, 204)
	follows.next("resume")
	follows.next("deadline")
	follows.next("pause")
}

func TestTheClockIsThatOfTheTimeSinceBoot(t *testing.T) {
	rung := make(chan struct{})
	a := &alarm{ring: func() { close(rung) }}
	if err := a.set(time.Hour); err != nil {
		t.Fatal(err)
	}
	defer a.file.Close()
	var info []byte
	a.control(func(fd int) (err error) {
		info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		return err
	})
	// proc_pid_fdinfo(5); 7 is CLOCK_BOOTTIME.
	if !strings.Contains(string(info), "clockid: 7\n") {
		t.Fatalf("%s", info)
	}
	if a.isDue() {
		t.Fatal("due an hour early")
	}
	a.set(time.Millisecond)
	<-rung
	if !a.isDue() {
		t.Fatal("it rang and is not due")
	}
	a.set(0)
	if a.isDue() {
		t.Fatal("it is due, and not set")
	}
}

func TestADetachedVMThatLeavesNothing(t *testing.T) {
	dead := `,"removeOnExit":true,"detached":true,"owner":{"pid":1,"startTime":"1"}`
	alive := fmt.Sprintf(`,"removeOnExit":true,"detached":true,"owner":{"pid":%d,"startTime":%q}`, os.Getpid(), startTime(t))
	for _, test := range []struct {
		record, said string
		stays        bool
	}{
		{dead, "", false},
		{strings.Replace(dead, "true", "false", 1), "", true},
		{alive, "", true},
		{alive, "{\"release\":true}\n", false},
		{strings.Replace(alive, "true", "false", 1), "{\"release\":true}\n", true},
	} {
		k := start(t, "read line")
		playVMM(t, k, test.record)
		k.call("PUT", "/detached", `{"state":"running"}`, 204)
		if now := k.stateFile(); now.State != running {
			t.Fatal(now)
		}
		io.WriteString(k.owner, test.said)
		k.owner.Close()
		k.call("PUT", "/console", "\n", 204)
		k.wait()
		if _, err := os.Stat(k.dir); os.IsNotExist(err) == test.stays {
			t.Fatal(test, err)
		}
	}
}

func startTime(t *testing.T) string {
	t.Helper()
	ticks, err := procid.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}
