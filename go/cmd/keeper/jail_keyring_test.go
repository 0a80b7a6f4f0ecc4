package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAVMMHasNoKeyOfWhoStartedIt(t *testing.T) {
	for name, arrange := range map[string]func(*bench) string{
		"in a view": func(*bench) string { return "" },
		// Which drops to the uid by itself, as a jailer does.
		"without a view": func(b *bench) string {
			b.spec.Enter = nil
			return "setpriv --clear-groups --reuid " + strconv.Itoa(jailUID) + " "
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			drop := arrange(b)
			// Never unlocked: the keyring goes with the thread, from which the keeper is started.
			runtime.LockOSThread()
			holdKey(t, "smartvm-test-secret")
			if said := b.output(drop + "grep -o smartvm-test-secret /proc/keys || echo none"); said != "none\n" {
				t.Errorf("%q", said)
			}
		})
	}
}

// holdKey puts a key into a session keyring of the calling thread's own.
func holdKey(t *testing.T, description string) {
	t.Helper()
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
		t.Skip("the kernel has no keyrings:", err)
	}
	if _, err := unix.AddKey("user", description, []byte("hunter2"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Fatal(err)
	}
	if keys, err := os.ReadFile("/proc/keys"); err != nil || !strings.Contains(string(keys), description) {
		t.Fatal("the key is not to be seen here either:", err)
	}
}
