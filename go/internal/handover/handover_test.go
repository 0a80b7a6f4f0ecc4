package handover

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/reaper"
)

// One for all tests: it waits for every child of the test binary.
var children = reaper.New()

func TestMain(m *testing.M) {
	go children.Run()
	os.Exit(m.Run())
}

func TestReadinessIsALineOfItsOwn(t *testing.T) {
	for note, want := range map[string]bool{
		"READY=1":                        true,
		"STATUS=Startup\nREADY=1\nX=2":   true,
		"STATUS=READY=1":                 false,
		"READY=0":                        false,
		"":                               false,
		"X_SYSTEMD_UNIT_ACTIVE=a\nREADY": false,
	} {
		if isReady([]byte(note)) != want {
			t.Errorf("%q", note)
		}
	}
}

func TestOthersThanPID1CannotSayThatTheInitIsUp(t *testing.T) {
	b, conn := listening(t)
	// The queue holds few: the last is taken only when those before have been read.
	for range 1000 {
		if _, err := conn.Write([]byte("READY=1")); err != nil {
			t.Fatal(err)
		}
	}
	if state := b.Now().State; state != Starting {
		t.Error(state)
	}
}

func TestDescriptorsThatComeWithANoteAreClosed(t *testing.T) {
	_, conn := listening(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	// More than there is room for, too.
	for _, count := range []int{1, 2, 200} {
		rights := unix.UnixRights(slices.Repeat([]int{int(write.Fd())}, count)...)
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var failure error
		err = raw.Write(func(fd uintptr) bool {
			failure = unix.Sendmsg(int(fd), []byte("FDSTORE=1"), rights, nil, 0)
			return failure != unix.EAGAIN
		})
		if err := errors.Join(err, failure); err != nil {
			t.Fatal(err)
		}
	}
	write.Close()
	// The pipe ends with the last that can write to it.
	read.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := read.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// listening is one that awaits its init, and a connection to it.
func listening(t *testing.T) (*Beside, *net.UnixConn) {
	t.Helper()
	b := &Beside{init: &Init{Path: "/sbin/init"}, status: Status{State: Starting}, settled: make(chan struct{})}
	address := "@smartvm/test-" + rand.Text()
	if err := b.listen(address); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return b, conn
}

func TestAnOrderComesWithTheRoot(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pid1, err := connection(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	agent, err := connection(ends[1])
	if err != nil {
		t.Fatal(err)
	}
	b := &Beside{socket: agent, init: &Init{Path: "/sbin/init"}, status: Status{State: Starting}, settled: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- b.Begin() }()
	order, root, err := receive(pid1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	var got, want unix.Stat_t
	unix.Fstat(root, &got)
	unix.Stat("/", &want)
	if order.Path != "/sbin/init" || got.Ino != want.Ino || got.Dev != want.Dev {
		t.Error(order, got, want)
	}
	pid1.Write([]byte("exec /sbin/init: it is no program"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if status := b.Settled(); status.State != Failed || status.Why != "exec /sbin/init: it is no program" {
		t.Error(status)
	}
	agent.Close()
	if _, _, err := receive(pid1); err == nil {
		t.Error("PID 1 takes an agent that has ended to be there")
	}
}

func TestAProcessIsQuietOnceItSleepsAndDoesNothing(t *testing.T) {
	stat := t.TempDir() + "/stat"
	write := func(state, times string) {
		os.WriteFile(stat, []byte("1 (a) b) "+state+" 0 1 1 0 -1 0 0 0 0 0 "+times+" 0 0 20 0 1\n"), 0o644)
	}
	for _, c := range []struct {
		state, times string
		asleep       bool
	}{{"S", "7 9", true}, {"R", "7 9", false}, {"D", "8 9", false}} {
		write(c.state, c.times)
		if times, asleep := activity(stat); times != c.times || asleep != c.asleep {
			t.Errorf("%+v: %q %v", c, times, asleep)
		}
	}
	if _, asleep := activity(stat + ".not"); asleep {
		t.Error("a process that is not there sleeps")
	}
}

func TestWhatIsStartedIsNotSheltered(t *testing.T) {
	before, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile("/proc/self/oom_score_adj", before, 0)
	if err := Shelter(children); err != nil {
		t.Skip("lowering the score takes CAP_SYS_RESOURCE: ", err)
	}
	defer children.Around(nil)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cat, err := children.Start("/bin/cat", []string{"cat", "/proc/self/oom_score_adj"}, filesTo(write))
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	<-cat.Done()
	score := make([]byte, 16)
	n, _ := read.Read(score)
	own, _ := os.ReadFile("/proc/self/oom_score_adj")
	if string(score[:n]) != "0\n" || string(own) != "-1000\n" {
		t.Errorf("child %q, own %q", score[:n], own)
	}
}

func filesTo(output *os.File) *syscall.ProcAttr {
	return &syscall.ProcAttr{Files: []uintptr{0, output.Fd(), 2}}
}
