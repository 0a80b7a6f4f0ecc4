package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAVMThatIsDetachedLaterOutlivesItsOwner(t *testing.T) {
	k := start(t, "echo up; read line; exit 3")
	k.waitLine("up")
	k.call("PUT", "/detached", "", 204)
	k.owner.Close()
	k.call("PUT", "/detached", "", 204)
	k.call("PUT", "/console", "go\n", 204)
	k.wait()
	wantCode(t, k.exitFile(), 3)
}

func TestTheDirectoryStaysWhereItsRecordNamesThingsOutside(t *testing.T) {
	for record, stays := range map[string]bool{
		`{"journal":{"taps":[],"sockets":[]}}`:                         false,
		`{"journal":{"taps":["tap7"],"sockets":[]}}`:                   true,
		`{"journal":{"taps":[],"sockets":["/tmp/a"]}}`:                 true,
		`{"journal":{"taps":[],"sockets":[],"layers":["/tmp/a.img"]}}`: true,
		`{"journal`: true,
	} {
		t.Run(fmt.Sprintf("%.60s", record), func(t *testing.T) {
			k := start(t, "echo up; exec sleep 60")
			k.waitLine("up")
			if err := os.WriteFile(filepath.Join(k.dir, "vm.json"), []byte(record), 0o600); err != nil {
				t.Fatal(err)
			}
			k.owner.Close()
			k.wait()
			if _, err := os.Stat(k.dir); os.IsNotExist(err) == stays {
				t.Fatal("stays:", !stays)
			}
		})
	}
}

func TestTheDirectoryStaysWhileASnapshotIsBeingWritten(t *testing.T) {
	k := start(t, "echo up; exec sleep 60")
	k.waitLine("up")
	name := ".smartvm-12345678-1234-1234-1234-123456789012"
	if err := os.Symlink("/nowhere/"+name, filepath.Join(k.dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "vm.json"), []byte(`{"journal":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	k.owner.Close()
	k.wait()
	if _, err := os.Stat(k.dir); err != nil {
		t.Fatal(err)
	}
}

func TestWhatADetachedVMHasWrittenGoesAndWhatIsReadOfItStays(t *testing.T) {
	for record, stays := range map[string]bool{`{"detached":true}`: false, `{"detached":false}`: true} {
		t.Run(record, func(t *testing.T) {
			k := start(t, "echo up; read line")
			k.waitLine("up")
			folder := filepath.Join(k.dir, "vmm", "jail")
			err := errors.Join(
				os.WriteFile(filepath.Join(k.dir, "vm.json"), []byte(record), 0o600),
				os.MkdirAll(folder, 0o700),
				os.WriteFile(filepath.Join(folder, "overlay.img"), make([]byte, 4096), 0o600),
				os.Symlink(k.dir, filepath.Join(k.dir, "vmm", "link")),
			)
			if err != nil {
				t.Fatal(err)
			}
			k.call("PUT", "/detached", "", 204)
			k.call("PUT", "/console", "go\n", 204)
			k.wait()
			wantCode(t, k.exitFile(), 0)
			entries, err := os.ReadDir(filepath.Join(k.dir, "vmm"))
			if err != nil || len(entries) > 0 != stays {
				t.Fatal(entries, err)
			}
			if _, err := os.Stat(filepath.Join(k.dir, "console.log")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTheOwnersWordsAreHeardBeforeWhoeverAsks(t *testing.T) {
	k := start(t, "echo up; exec sleep 60")
	k.waitLine("up")
	// The call that smartvm-launch leaves unread, what is no word, and one that comes in pieces.
	for _, text := range []string{"\nnonsense\n{}\n{\"state\":\"odd\"}\n{\"sta", "te\":\"running\"}\n{\"state\":\"stopping\"}\n"} {
		if _, err := k.owner.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var events []string
	for line := range strings.Lines(k.call("GET", "/events?follow=false", "", 200)) {
		var event struct{ Event, State string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event.Event+" "+event.State)
	}
	if got := strings.Join(events, ", "); got != "start running, stop running" {
		t.Fatal(got)
	}
	if _, err := k.owner.Write([]byte("{\"signal\":\"SIGKILL\"}\n")); err != nil {
		t.Fatal(err)
	}
	k.wait()
	exit := k.exitFile()
	wantSignal(t, exit, "SIGKILL")
	if exit.Reason != stopped {
		t.Fatal(exit.Reason)
	}
}
