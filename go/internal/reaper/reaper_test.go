package reaper

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// One for all tests: it waits for every child of the test binary.
var children = New()

func TestMain(m *testing.M) {
	go children.Run()
	os.Exit(m.Run())
}

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := children.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEachStatusReachesItsOwner(t *testing.T) {
	var processes []*Process
	for code := range 50 {
		processes = append(processes, start(t, "exit "+string(rune('0'+code%10))))
	}
	for code, p := range processes {
		<-p.Done()
		if got := p.Status().ExitStatus(); got != code%10 {
			t.Fatalf("exit code %d, want %d", got, code%10)
		}
	}
}

func TestSignals(t *testing.T) {
	p := start(t, "sleep 60 & wait")
	if err := p.SignalGroup(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Status().Signal() != syscall.SIGKILL {
		t.Fatal(p.Status())
	}
	if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal("a signal for whoever has the pid now:", err)
	}
}

func TestAnExecutableThatIsNotThere(t *testing.T) {
	if _, err := children.Start("/nonexistent", []string{"x"}, &syscall.ProcAttr{}); err != syscall.ENOENT {
		t.Fatal(err)
	}
}

func TestOrphansAreReapedAndChildlessIsTold(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := start(t, "(sleep 0.05; exit 3) & (sleep 0.1) & exit 0")
	<-p.Done()
	<-children.Childless()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Fatal("there are children left:", err)
	}
}
