package handover

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestlimits"
)

func TestWhatEndsTheGuestIsSparedWhenTheRestIsSignaled(t *testing.T) {
	root := enterGroups(t)
	groups := guestlimits.New(root)
	ender := filepath.Join(t.TempDir(), "poweroff")
	script := `#!/bin/sh
trap 'echo signaled > $0.said' TERM
echo up > $0.said
read go < $0.go
echo ended > $0.said
`
	if err := os.WriteFile(ender, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Mkfifo(ender+".said", 0o600), unix.Mkfifo(ender+".go", 0o600)); err != nil {
		t.Fatal(err)
	}
	said, err := os.OpenFile(ender+".said", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	if err := startOutside(ender, children, groups); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	lines.ReadString('\n')
	command, err := children.Start("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{}})
	if err != nil {
		t.Fatal(err)
	}
	groups.Signal(unix.SIGTERM)
	<-command.Done()
	if err := os.WriteFile(ender+".go", []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	if line, _ := lines.ReadString('\n'); line != "ended\n" {
		t.Errorf("what ends the guest was %s", line)
	}
	<-children.Childless()
}

// enterGroups has this process be in a group as the agent is, below one of the test's own.
func enterGroups(t *testing.T) (root string) {
	var mount string
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(path + "/cgroup.procs"); err == nil {
			mount = path
		}
	}
	text, _ := os.ReadFile("/proc/self/cgroup")
	_, before, found := strings.Cut("\n"+string(text), "\n0::")
	if mount == "" || !found {
		t.Skip("no control groups of version 2 here")
	}
	before = filepath.Join(mount, strings.TrimSpace(strings.SplitN(before, "\n", 2)[0]))
	root = filepath.Join(before, "smartvm-test-"+strconv.Itoa(os.Getpid()))
	own := filepath.Join(root, "smartvm", "agent")
	enter := func(group string) error {
		return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	}
	t.Cleanup(func() {
		enter(before)
		for _, path := range []string{own, filepath.Dir(own), root} {
			os.Remove(path)
		}
	})
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Skip("control groups are for root to make: ", err)
	}
	if err := enter(own); err != nil {
		t.Skip("this process is not to leave its control group: ", err)
	}
	return root
}
