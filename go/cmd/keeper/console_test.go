package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (k *keeper) waitLineAny() string {
	k.t.Helper()
	buffer := make([]byte, 64)
	n, err := k.request("GET", "/console?follow=true", "").Body.Read(buffer)
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.TrimSpace(string(buffer[:n]))
}

func TestAFloodStaysWithinItsLimitAndBlocksNobody(t *testing.T) {
	const limit = 64 << 10
	k := start(t, "head -c 2000000 /dev/zero >&2; head -c 20000000 /dev/zero | tr '\\0' x; echo end; read line",
		"--console-limit", "65536")
	// A reader that never reads must hold up nobody.
	k.request("GET", "/console?follow=true", "")
	waitConsoleEnd(t, k)
	k.call("PUT", "/console", "\n", 204)
	syscall.Kill(k.VMMPid, syscall.SIGKILL)
	k.wait()
	for name, most := range map[string]int64{"console.log": limit, "vmm.log": vmmLogLimit} {
		var total int64
		for _, suffix := range []string{"", ".1"} {
			info, err := os.Stat(filepath.Join(k.dir, name+suffix))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > most || total < most/2 {
			t.Fatalf("%s: %d bytes kept of at most %d", name, total, most)
		}
	}
}

// waitConsoleEnd follows the console, which drops what is not read in time, up to the line "end".
func waitConsoleEnd(t *testing.T, k *keeper) {
	t.Helper()
	body := k.request("GET", "/console?follow=true", "").Body
	var tail []byte
	for buffer := make([]byte, 64<<10); !bytes.HasSuffix(tail, []byte("end\n")); {
		n, err := body.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		tail = append(tail, buffer[:n]...)
		tail = tail[max(0, len(tail)-4):]
	}
}

func TestEveryByteReachesAFollower(t *testing.T) {
	script := `i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; i=$((i+1)); done; read line; echo "$line"`
	k := start(t, script)
	body := k.request("GET", "/console?follow=true", "").Body
	k.call("PUT", "/console", "live\n", 204)
	got, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range 256 {
		want = append(want, byte(i))
	}
	if want = append(want, "live\n"...); !bytes.Equal(got, want) {
		t.Fatalf("%q", got)
	}
}

func TestConsoleWithoutFollowEndsAtWhatIsKept(t *testing.T) {
	k := start(t, "echo kept; read line")
	k.waitLine("kept")
	if got := k.call("GET", "/console", "", 200); got != "kept\n" {
		t.Fatalf("%q", got)
	}
}

func TestTheConsolesLastLines(t *testing.T) {
	k := start(t, "printf '1\\n2\\n3\\n'; read line; echo $line")
	k.waitLine("3")
	if got := k.call("GET", "/console?tail=2", "", 200); got != "2\n3\n" {
		t.Fatalf("%q", got)
	}
	k.call("GET", "/console?tail=-1", "", 400)
	body := k.request("GET", "/console?tail=0&follow=true", "").Body
	k.call("PUT", "/console", "live\n", 204)
	if got, err := io.ReadAll(body); err != nil || string(got) != "live\n" {
		t.Fatalf("%q %v", got, err)
	}
	k.wait()
}

func TestInputThatNobodyTakesIsGivenUpWithItsClient(t *testing.T) {
	k := start(t, "echo up; sleep 60")
	k.waitLine("up")
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, "PUT", "http://keeper/console", strings.NewReader(strings.Repeat("x", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if response, err := k.client.Do(request); err == nil {
		t.Fatal("1 MiB went into a pipe that nobody reads:", response.Status)
	}
	k.call("GET", "/", "", 200)
	syscall.Kill(k.VMMPid, syscall.SIGKILL)
	k.wait()
}

func TestTheVMMsInputIsAFIFO(t *testing.T) {
	k := start(t, "[ -p /dev/stdin ] && echo fifo; read line")
	k.waitLine("fifo")
}

func TestSignals(t *testing.T) {
	k := start(t, "trap 'echo usr1' USR1; echo up; while :; do sleep 0.01; done")
	k.waitLine("up")
	k.call("PUT", "/signal", `{"signal":"SIGUSR1"}`, 204)
	k.waitLine("usr1")
	for _, body := range []string{`{"signal":"SIGNOPE"}`, `{`, `{"signal":"` + strings.Repeat("x", 5000) + `"}`} {
		if answer := k.call("PUT", "/signal", body, 400); !strings.Contains(answer, `"fault_message"`) {
			t.Fatal(answer)
		}
	}
	if answer := k.call("GET", "/nothing", "", 404); !strings.Contains(answer, `"fault_message"`) {
		t.Fatal(answer)
	}
	k.call("PUT", "/signal", `{"signal":"SIGKILL"}`, 204)
	k.wait()
	wantSignal(t, k.exitFile(), "SIGKILL")
}
