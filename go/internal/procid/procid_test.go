package procid

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
)

func TestStartTimeIsANumberOfTicks(t *testing.T) {
	ticks, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.ParseUint(ticks, 10, 64); err != nil || n == 0 {
		t.Fatalf("start time %q", ticks)
	}
}

func TestChildrenListsOurChildAlone(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := Children(os.Getpid())
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil || !slices.Contains(children, cmd.Process.Pid) {
		t.Fatalf("children %v, want %d (%v)", children, cmd.Process.Pid, err)
	}
	children, err = Children(os.Getpid())
	if err != nil || slices.Contains(children, cmd.Process.Pid) {
		t.Fatalf("children %v still hold %d (%v)", children, cmd.Process.Pid, err)
	}
}

func TestStartTimeOfNobody(t *testing.T) {
	if _, err := StartTime(1 << 30); err == nil {
		t.Fatal("a start time for a pid beyond the kernel's range")
	}
}
