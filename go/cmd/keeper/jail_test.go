package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
)

func TestAJailedVMMHasAViewOfItsOwn(t *testing.T) {
	b := newBench(t)
	secret := b.write("secret", "read me\n", 0o600)
	b.bind(secret, false)
	b.spec.PrivateNetwork = true
	t.Setenv("SMARTVM_TEST_TOKEN", "hunter2")
	said := b.output(`for fd in 0 1 2 3 4 5 6 7 8 9 10; do [ -e /proc/self/fd/$fd ] && echo "fd $fd"; done; echo "pid $$"; echo "id $(id -u):$(id -g):$(id -G)"; cat ` + secret + `
hostname; echo "open $(ulimit -Hn)"; echo "core $(ulimit -Hc)"; echo "file $(ulimit -Hf)"
grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -s '\t' ' '
echo "root" $(ls /); echo "dev" $(ls /dev /dev/net); (echo x > ` + secret + `) 2>/dev/null || echo 'not writable'
(: > /planted) 2>/dev/null || echo 'root is not writable'; : > /tmp/mine && echo 'tmp is writable'
echo "env $(env | cut -d= -f1 | grep -vE '^(PWD|SHLVL|_)$' | sort | tr '\n' ' ')"
echo "net" $(tail -n +3 /proc/net/dev | cut -d: -f1); ls -n ` + secret + ` | cut -d' ' -f1,3,4; (exec 3<>/dev/null) && echo 'null opens'`)
	uid := strconv.Itoa(jailUID)
	for _, line := range []string{
		"pid 1", "id " + uid + ":" + uid + ":" + uid, "read me", "smartvm", "open 64", "core 0", "file 2048",
		"CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000",
		"CapBnd: 0000000000000000", "CapAmb: 0000000000000000", "NoNewPrivs: 1", "fd 0", "fd 1", "fd 2", "not writable",
		"root is not writable", "tmp is writable", "env LANG PATH ", "net lo", "-rw------- " + uid + " " + uid, "null opens",
	} {
		if !strings.Contains("\n"+said, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	for _, absent := range []string{"fd 3", "fd 4", "fd 5", "fd 6", "etc", "hunter2", "absent", "run\n"} {
		if strings.Contains(said, absent) {
			t.Errorf("%q is there", absent)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
	wantOwner(t, secret, 0, 0o600)
	if mounts := mountsBelow(t, b.dir); len(mounts) != 1 {
		t.Errorf("mounted on the host: %v", mounts)
	}
}

func TestAWritablePathKeepsItsOwnerAndMode(t *testing.T) {
	b := newBench(t)
	disk, folder := b.write("disk", "", 0o600), b.file("folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, 4321, 4321); err != nil {
		t.Fatal(err)
	}
	// One in the other: the inner must not vanish beneath the outer.
	inner := b.write("folder/inner", "", 0o600)
	b.bind(inner, true)
	b.bind(disk, true)
	b.bind(folder, true)
	said := b.output("echo a > " + disk + " && echo b > " + inner + " && echo c > " + folder + "/made && echo done")
	if said != "done\n" {
		t.Fatalf("%q", said)
	}
	for path, want := range map[string]string{disk: "a\n", inner: "b\n", folder + "/made": "c\n"} {
		if data, err := os.ReadFile(path); err != nil || string(data) != want {
			t.Errorf("%s: %q %v", path, data, err)
		}
	}
	wantOwner(t, disk, 0, 0o600)
	wantOwner(t, folder, 4321, 0o700)
	// What the VM makes in a folder that is lent belongs to whom the folder does.
	wantOwner(t, folder+"/made", 4321, 0o600)
}

func TestAPathThatTheVMCannotUseIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		path     func(*bench) string
		writable bool
		words    []string
	}{
		"absent":             {func(b *bench) string { return b.file("absent") }, false, []string{"absent", "no such file"}},
		"without id mapping": {func(*bench) string { return "/proc/kmsg" }, false, []string{"/proc/kmsg", "0400", "id-mapped"}},
		"read-only":          {func(b *bench) string { return b.write("rom", "", 0o400) }, true, []string{"rom", "chmod u+rw"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.bind(test.path(b), test.writable)
			wantFault(t, b.failure("/bin/sh"), jail.PathUnreadable, test.words...)
		})
	}
}

func TestAJailThatCannotBeMadeSaysWhy(t *testing.T) {
	b := newBench(t)
	wantFault(t, b.failure("/bin/absent"), jail.CommandUnspawned, "/bin/absent")
	b.spec.Cgroups = []string{b.file("cgroup")}
	wantFault(t, b.failure("/bin/sh"), jail.CgroupUnavailable, b.file("cgroup"))
	b.spec.Cgroups, b.spec.UID = nil, 0
	wantFault(t, b.failure("/bin/sh"), jail.Failed, "superuser")
}

func TestPathsComeIntoARunningViewAndLeaveIt(t *testing.T) {
	b := newBench(t)
	folder := b.file("folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	b.bind(folder, false)
	late := b.write("late", "late\n", 0o600)
	k := b.start(`echo up; while read what path; do case $what in
		read) cat $path 2>/dev/null || echo none ;;
		write) (echo new > $path) 2>/dev/null && echo written || echo refused ;;
	esac; done`)
	k.waitLine("up")
	k.lines = 1
	do := func(what, want string) {
		t.Helper()
		k.call("PUT", "/console", what+" "+late+"\n", 204)
		k.waitNext(want)
	}
	do("read", "none")
	k.call("PUT", "/mounts", `{"path":"`+late+`","writable":false}`, 204)
	do("read", "late")
	do("write", "refused")
	// Again, as a file that was replaced, and writable now.
	if err := os.Rename(b.write("later", "later\n", 0o600), late); err != nil {
		t.Fatal(err)
	}
	k.call("PUT", "/mounts", `{"path":"`+late+`","writable":true}`, 204)
	do("read", "later")
	do("write", "written")
	do("read", "new")
	k.call("DELETE", "/mounts", `{"path":"`+late+`"}`, 204)
	do("read", "none")
	if answer := k.call("DELETE", "/mounts", `{"path":"`+late+`"}`, 400); !strings.Contains(answer, jail.Failed) {
		t.Fatal(answer)
	}
	if answer := k.call("PUT", "/mounts", `{"path":"/absent"}`, 400); !strings.Contains(answer, jail.PathUnreadable) {
		t.Fatal(answer)
	}
	// Nothing is made in a folder of the host.
	hidden := b.write("folder/late", "", 0o600)
	os.Remove(hidden)
	wantOwner(t, late, 0, 0o600)
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Fatal(entries, err)
	}
	k.call("PUT", "/signal", `{"signal":"SIGKILL"}`, 204)
	k.wait()
}

func TestNothingIsMountedInANamespaceThatTheVMMMade(t *testing.T) {
	b := newBench(t)
	// No view, whose filter would not let it.
	b.spec.Enter = nil
	late := b.write("late", "late\n", 0o644)
	k := b.start("echo up; read line; exec unshare --user --map-root-user --mount sh -c 'echo left; read line'")
	k.waitLine("up")
	k.call("PUT", "/mounts", `{"path":"`+late+`"}`, 204)
	k.call("PUT", "/console", "leave\n", 204)
	k.waitLine("left")
	if answer := k.call("PUT", "/mounts", `{"path":"`+late+`"}`, 400); !strings.Contains(answer, "that it made itself") {
		t.Fatal(answer)
	}
	k.call("PUT", "/console", "end\n", 204)
	k.wait()
}

func TestAVMMWithoutAJailTakesNoMounts(t *testing.T) {
	k := start(t, "exec sleep 60")
	if answer := k.call("PUT", "/mounts", `{"path":"/etc"}`, 400); !strings.Contains(answer, "not jailed") {
		t.Fatal(answer)
	}
}

func TestASignalThatTheFirstProcessWouldLoseEndsIt(t *testing.T) {
	b := newBench(t)
	k := b.start("trap 'echo asked' TERM; echo up; while :; do sleep 0.01 || exit 9; done")
	lines := k.waitLine("up")
	k.call("PUT", "/signal", `{"signal":"SIGWINCH"}`, 204)
	k.call("PUT", "/signal", `{"signal":"SIGTERM"}`, 204)
	if line, err := lines.ReadString('\n'); line != "asked\n" {
		t.Fatalf("%q %v", line, err)
	}
	k.call("PUT", "/signal", `{"signal":"SIGUSR1"}`, 204)
	k.wait()
	wantSignal(t, k.exitFile(), "SIGKILL")
}

func TestAJailedVMMDiesWithItsKeeper(t *testing.T) {
	b := newBench(t)
	k := b.start("exec sleep 60")
	k.cmd.Process.Kill()
	waitGone(t, k.VMMPid, k.VMMStartTime)
	if mounts := mountsBelow(t, b.dir); len(mounts) != 1 {
		t.Fatal(mounts)
	}
}

func TestOnlyTheVMMsEndIsWaitedFor(t *testing.T) {
	b := newBench(t)
	// A grandchild that would outlive it ends with the namespace.
	k := b.start("(trap '' TERM; setsid sleep 60) & exit 5")
	k.wait()
	wantCode(t, k.exitFile(), 5)
	if err := unix.Kill(k.VMMPid, 0); err != unix.ESRCH {
		t.Fatal(err)
	}
}
