package jail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASpecIsChecked(t *testing.T) {
	const good = `"base":"/b","root":"/b/r","uid":5,"gid":6`
	for name, test := range map[string]struct{ json, word string }{
		"root elsewhere":    {`{"base":"/b","root":"/c/r","uid":5,"gid":6}`, "not a path below"},
		"root that climbs":  {`{"base":"/b","root":"/b/../c","uid":5,"gid":6}`, "not a path below"},
		"superuser":         {`{"base":"/b","root":"/b/r","uid":0,"gid":6}`, "superuser"},
		"relative mount":    {`{` + good + `,"mounts":[{"path":"etc"}]}`, "etc"},
		"mount that climbs": {`{` + good + `,"mounts":[{"path":"/a/../etc"}]}`, "/a/../etc"},
		"the root itself":   {`{` + good + `,"mounts":[{"path":"/"}]}`, "clean absolute"},
		"link":              {`{` + good + `,"links":{"bin":"usr/bin"}}`, "bin"},
		"device":            {`{` + good + `,"enter":{"devices":["kvm"]}}`, "kvm"},
		"cgroup":            {`{` + good + `,"cgroups":["x"]}`, "x"},
		"no JSON":           {`{`, "jail.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(specFile(t, test.json))
			if err == nil || !strings.Contains(err.Error(), test.word) {
				t.Fatal(err)
			}
		})
	}
	mounts := `,"mounts":[{"path":"/a-b"},{"path":"/a/b/c"},{"path":"/a/b"},{"path":"/a"}],"enter":{"fileSizeBytes":null}`
	spec, err := Read(specFile(t, `{`+good+mounts+`}`))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, mount := range spec.Mounts {
		paths = append(paths, mount.Path)
	}
	if a, b := slices.Index(paths, "/a"), slices.Index(paths, "/a/b"); a > b || b > slices.Index(paths, "/a/b/c") {
		t.Fatalf("a directory's content comes before it: %v", paths)
	}
}

func specFile(t *testing.T, json string) string {
	path := filepath.Join(t.TempDir(), "jail.json")
	if err := os.WriteFile(path, []byte(json), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOwnerAndModeSayWhoMayUseAFile(t *testing.T) {
	for _, test := range []struct {
		mode     uint32
		uid, gid uint32
		write    bool
		want     bool
	}{
		{unix.S_IFREG | 0o600, 1, 1, true, true},
		{unix.S_IFREG | 0o600, 2, 1, false, false},
		{unix.S_IFREG | 0o640, 2, 1, false, true},
		{unix.S_IFREG | 0o640, 2, 1, true, false},
		{unix.S_IFREG | 0o644, 2, 2, false, true},
		{unix.S_IFREG | 0o044, 1, 2, false, false},
		{unix.S_IFREG | 0o604, 2, 1, false, false},
		{unix.S_IFDIR | 0o644, 1, 1, false, false},
		{unix.S_IFDIR | 0o755, 2, 2, false, true},
		{unix.S_IFDIR | 0o755, 2, 2, true, false},
	} {
		if got := admits(&unix.Stat_t{Mode: test.mode, Uid: 1, Gid: 1}, test.uid, test.gid, test.write); got != test.want {
			t.Errorf("%o for %d:%d, write %v: %v", test.mode, test.uid, test.gid, test.write, got)
		}
	}
}

func TestFaultsKeepTheirCodes(t *testing.T) {
	err := errors.Join(errors.New("first"), faultf(CgroupUnavailable, "no %s", "cgroup"))
	if fault := AsFault(err); fault.Code != CgroupUnavailable || fault.Message != "no cgroup" {
		t.Fatal(fault)
	}
	if fault := AsFault(errors.New("odd")); fault.Code != Failed || fault.Message != "odd" {
		t.Fatal(fault)
	}
	if err := ParseFault(nil); err != nil {
		t.Fatal(err)
	}
	if err := ParseFault([]byte(`{"code":"X","mess`)); AsFault(err).Code != Failed {
		t.Fatal(err)
	}
}

func TestWhatIsLeftInACgroupIsKilledAndItIsRemoved(t *testing.T) {
	var tried bool
	for _, parent := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(parent + "/cgroup.procs"); err != nil {
			continue
		}
		path := filepath.Join(parent, "smartvm-jail-test-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(path, 0o755); err != nil {
			continue
		}
		tried = true
		t.Cleanup(func() { os.Remove(path) })
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- cmd.Wait() }()
		err := os.WriteFile(path+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0)
		if err := errors.Join(err, RemoveCgroups([]string{path, path + "-absent"})); err != nil {
			cmd.Process.Kill()
			t.Error(path, err)
		}
		<-ended
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error(path, "is left:", err)
		}
	}
	if !tried {
		t.Skip("no cgroup can be made")
	}
}
