package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheConsoleTellsHowTheCommandOfAVMEnded(t *testing.T) {
	const line = "smartvm-agent: the command has ended with exit code "
	for console, want := range map[string]int{
		"": -1,
		"out\r\n" + line + "3\r\n[ 7.8] reboot: Restarting system\r\n": 3,
		line + "0\n":                    0,
		line + "1\n" + line + "137\r\n": 137,
		line + "999\n":                  -1,
		"x " + line + "3\n":             -1,
		line + "3 or so\n":              -1,
		line + "3\n" + strings.Repeat("x", 2*consoleTail):   -1,
		strings.Repeat("x\n", 2*consoleTail) + line + "7\n": 7,
	} {
		path := filepath.Join(t.TempDir(), "console.log")
		if err := os.WriteFile(path, []byte(console), 0o600); err != nil {
			t.Fatal(err)
		}
		got := -1
		if code := commandExitCode(path); code != nil {
			got = *code
		}
		if got != want {
			t.Errorf("%.80q: %d", console, got)
		}
	}
	if commandExitCode("/nonexistent") != nil {
		t.Error("a console that there is not told an exit code")
	}
}
