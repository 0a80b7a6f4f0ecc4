package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// actAsProbe has the test binary make the system calls of a list, by its name, and say what each answers.
const actAsProbe = "SMARTVM_TEST_PROBE"

type attempt struct {
	name string
	make func() error
}

var probes = map[string]func() []attempt{}

func probe(name string) {
	for _, attempt := range probes[name]() {
		fmt.Printf("%s: %s\n", attempt.name, answerOf(attempt.make()))
	}
}

func answerOf(err error) string {
	if errno, known := err.(unix.Errno); known && errno != 0 {
		return unix.ErrnoName(errno)
	}
	return "done"
}

// call is an attempt by a system call's number and arguments.
func call(number uintptr, args ...uintptr) func() error {
	return func() error {
		var all [6]uintptr
		copy(all[:], args)
		_, _, errno := unix.RawSyscall6(number, all[0], all[1], all[2], all[3], all[4], all[5])
		return errno
	}
}

// bindProbe shows the test binary in the jail, and answers the command that probes.
func (b *bench) bindProbe(name string) string {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	if b.spec.Enter != nil {
		b.bind(self, false)
	}
	return actAsProbe + "=" + name + " " + self
}

// wantAnswers checks what a probe has said, line by line.
func wantAnswers(t *testing.T, said string, want map[string]string) {
	t.Helper()
	answers := map[string]string{}
	for line := range strings.Lines(said) {
		name, answer, _ := strings.Cut(strings.TrimSpace(line), ": ")
		answers[name] = answer
	}
	for name, answer := range want {
		if answers[name] != answer {
			t.Errorf("%s answers %q, want %q", name, answers[name], answer)
		}
	}
	for name := range answers {
		if _, expected := want[name]; !expected {
			t.Errorf("nothing is expected of %q", name)
		}
	}
}

// wantNoSetID checks that nothing below a directory has a setuid or setgid bit.
func wantNoSetID(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
