package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"smartvm.dev/go/internal/jail"
)

func TestTheStandardErrorOfAJailedVMMHasAName(t *testing.T) {
	b := newBench(t)
	folder := b.file("vmm")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, jailUID, jailUID); err != nil {
		t.Fatal(err)
	}
	b.bind(folder, true)
	b.spec.StderrFIFO = filepath.Join(folder, "stderr")
	k := b.start("echo by number >&2; echo by name > " + b.spec.StderrFIFO)
	k.wait()
	log, err := os.ReadFile(filepath.Join(k.dir, "vmm.log"))
	if err != nil || string(log) != "by number\nby name\n" {
		t.Fatalf("%q %v", log, err)
	}
	wantOwner(t, b.spec.StderrFIFO, jailUID, 0o600)
}

func TestAJailedVMMIsInItsCgroupsWhichGoWithIt(t *testing.T) {
	b := newBench(t)
	for _, parent := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(parent + "/cgroup.procs"); err == nil {
			b.spec.Cgroups = append(b.spec.Cgroups, filepath.Join(parent, "smartvm-test-"+strconv.Itoa(os.Getpid())))
		}
	}
	if len(b.spec.Cgroups) == 0 {
		t.Skip("no cgroup file system is mounted")
	}
	makeCgroups(b)
	k := b.start("cat /proc/self/cgroup; echo up; read line")
	k.waitLine("up")
	for _, path := range b.spec.Cgroups {
		members, err := os.ReadFile(path + "/cgroup.procs")
		if err != nil || string(members) != strconv.Itoa(k.VMMPid)+"\n" {
			t.Errorf("%s: %q %v", path, members, err)
		}
	}
	if console, _ := os.ReadFile(k.dir + "/console.log"); strings.Contains(string(console), "smartvm-test") {
		t.Errorf("the VMM knows where its cgroups are: %s", console)
	}
	k.call("PUT", "/console", "end\n", 204)
	k.wait()
	wantNoCgroups(b)
	// Nor does one stay that never came to be.
	makeCgroups(b)
	wantFault(t, b.failure("/bin/absent"), jail.CommandUnspawned, "/bin/absent")
	wantNoCgroups(b)
}

func makeCgroups(b *bench) {
	b.t.Helper()
	for _, path := range b.spec.Cgroups {
		if err := os.Mkdir(path, 0o755); err != nil {
			b.t.Skip("no cgroup can be made:", err)
		}
		b.t.Cleanup(func() { os.Remove(path) })
	}
}

func wantNoCgroups(b *bench) {
	b.t.Helper()
	for _, path := range b.spec.Cgroups {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			b.t.Errorf("%s is left: %v", path, err)
		}
	}
}

func TestATapIsLentToTheVMM(t *testing.T) {
	b := newBench(t)
	const name = "svtest0"
	if out, err := exec.Command("ip", "tuntap", "add", name, "mode", "tap", "user", "4321").CombinedOutput(); err != nil {
		t.Skipf("no TAP can be made: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "delete", name).Run() })
	owner := func() string {
		data, _ := os.ReadFile("/sys/class/net/" + name + "/owner")
		return strings.TrimSpace(string(data))
	}
	b.spec.Taps = []string{name, "svabsent0"}
	k := b.start("echo up; read line")
	k.waitLine("up")
	if owner() != strconv.Itoa(jailUID) {
		t.Errorf("the VMM's TAP is %s's", owner())
	}
	k.call("PUT", "/console", "end\n", 204)
	k.wait()
	if owner() != "4321" {
		t.Errorf("the TAP is %s's, it was 4321's", owner())
	}
}

func TestABlockDeviceIsMadeForTheVMM(t *testing.T) {
	b := newBench(t)
	image := b.write("image", strings.Repeat("blockdev", 64<<10), 0o600)
	loop, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skip("no loop device can be had:", err)
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	var before, after syscall.Stat_t
	syscall.Stat(device, &before)
	b.bind(device, false)
	said := b.output("head -c 8 " + device + "; echo; (echo x > " + device + ") 2>/dev/null || chmod 666 " + device + " 2>/dev/null || echo refused")
	syscall.Stat(device, &after)
	if said != "blockdev\nrefused\n" || before.Mode != after.Mode || before.Uid != after.Uid {
		t.Fatalf("%q %o of %d, before %o of %d", said, after.Mode, after.Uid, before.Mode, before.Uid)
	}
}
