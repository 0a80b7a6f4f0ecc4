package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
)

const jailUID = 1_900_000_123

// bench is where a jailed VMM is kept: a tmpfs as a strict host's /run is, and files of root's.
type bench struct {
	t    *testing.T
	dir  string
	spec jail.Spec
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make a jail")
	}
	linkConfine(t)
	dir := t.TempDir()
	// Above the clean-ups that unmount and remove.
	wantNothingMounted(t, dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	b := &bench{t: t, dir: dir}
	base := b.file("jail")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	b.spec = jail.Spec{
		Base: base, Root: base + "/vmm/vm-1/root", UID: jailUID, GID: jailUID,
		Links: map[string]string{},
		Enter: &jail.Enter{
			Devices: []string{"/dev/null", "/dev/net/tun", "/dev/absent"}, Proc: true, TmpBytes: 1 << 20,
			OpenFiles: 64, FileSizeBytes: 1 << 20, Hostname: "smartvm",
		},
	}
	b.showPrograms()
	return b
}

func (b *bench) file(name string) string { return filepath.Join(b.dir, name) }

// write makes a file of root's.
func (b *bench) write(name, content string, mode os.FileMode) string {
	b.t.Helper()
	path := b.file(name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bench) bind(path string, writable bool) {
	b.spec.Mounts = append(b.spec.Mounts, jail.Mount{Path: path, Writable: writable})
}

// showPrograms binds what a shell needs.
func (b *bench) showPrograms() {
	b.bind("/usr", false)
	for _, name := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if target, err := os.Readlink(name); err == nil {
			b.spec.Links[name] = target
		} else if _, err := os.Stat(name); err == nil {
			b.bind(name, false)
		}
	}
}

func (b *bench) specFile() string {
	b.t.Helper()
	data, err := json.Marshal(b.spec)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.write("jail.json", string(data), 0o600)
}

// start runs a shell script in the jail.
func (b *bench) start(script string) *keeper {
	b.t.Helper()
	return start(b.t, script, "--jail", b.specFile())
}

// output runs one to its end and answers what it printed.
func (b *bench) output(script string) string {
	b.t.Helper()
	k := b.start(script)
	k.wait()
	log, _ := os.ReadFile(filepath.Join(k.dir, "vmm.log"))
	if len(log) > 0 {
		b.t.Logf("standard error: %s", log)
	}
	console, err := os.ReadFile(filepath.Join(k.dir, "console.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(console)
}

// failure starts a command that cannot come to be and answers why.
func (b *bench) failure(command ...string) jail.Fault {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	args := append([]string{"--id", "vm-1", "--dir", b.t.TempDir(), "--jail", b.specFile(), "--"}, command...)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), actAsKeeper+"=1")
	stdout, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 {
		b.t.Fatalf("%s %v", stdout, err)
	}
	var hello struct{ Error jail.Fault }
	if err := json.Unmarshal(stdout, &hello); err != nil {
		b.t.Fatalf("%s %v", stdout, err)
	}
	return hello.Error
}

func wantFault(t *testing.T, fault jail.Fault, code string, words ...string) {
	t.Helper()
	if fault.Code != code {
		t.Fatalf("%+v, want %s", fault, code)
	}
	for _, word := range words {
		if !strings.Contains(fault.Message, word) {
			t.Fatalf("%q does not name %q", fault.Message, word)
		}
	}
}

// linkConfine puts the test binary beside itself by its other name.
func linkConfine(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(self), "confine.test")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(link) })
}

// wantNothingMounted checks at the end that no mount below a directory is left on the host.
func wantNothingMounted(t *testing.T, dir string) {
	t.Cleanup(func() {
		if mounts := mountsBelow(t, dir); len(mounts) > 0 {
			t.Errorf("left mounted: %v", mounts)
		}
	})
}

func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(info)) {
		if point := strings.Fields(line)[4]; point == dir || strings.HasPrefix(point, dir+"/") {
			found = append(found, point)
		}
	}
	slices.Sort(found)
	return found
}

func wantOwner(t *testing.T, path string, uid uint32, mode uint32) {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Uid != uid || stat.Mode&0o7777 != mode {
		t.Fatalf("%s: mode %o of uid %d, want %o of %d", path, stat.Mode&0o7777, stat.Uid, mode, uid)
	}
}
