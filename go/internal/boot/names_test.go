package boot

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
)

var twoAddresses = guestconfig.Network{
	DNS: []string{"1.1.1.1", "fd00::1"},
	Interfaces: []guestconfig.Interface{
		{MAC: "02:00:00:00:00:01", Addresses: []string{"172.30.0.2/24", "fd00::2/64"}},
	},
}

func namesIn(t *testing.T, own bool) Names {
	return Names{Etc: t.TempDir(), Run: t.TempDir() + "/smartvm", Own: own}
}

func TestNamesReplaceThoseOfALayerOfTheVMsOwn(t *testing.T) {
	names := namesIn(t, true)
	os.Symlink("/nonexistent/stub-resolv.conf", names.Etc+"/resolv.conf")
	os.WriteFile(names.Etc+"/hosts", []byte("10.0.0.1\timage\n"), 0o644)

	if err := names.Boot("web.example", &twoAddresses); err != nil {
		t.Fatal(err)
	}
	hosts := read(t, names.Etc+"/hosts")
	for _, line := range []string{"127.0.0.1\tlocalhost\n", "172.30.0.2\tweb.example web\n", "fd00::2\tweb.example web\n"} {
		if !strings.Contains(hosts, line) {
			t.Errorf("hosts %q lack %q", hosts, line)
		}
	}
	if strings.Contains(hosts, "image") {
		t.Errorf("hosts %q are the image's", hosts)
	}
	if got := read(t, names.Etc+"/resolv.conf"); got != "nameserver 1.1.1.1\nnameserver fd00::1\n" {
		t.Errorf("resolv.conf %q", got)
	}
	if got := read(t, names.Etc+"/hostname"); got != "web.example\n" {
		t.Errorf("hostname %q", got)
	}
}

func TestNamesKeepTheUsersLinesOfHostsOnAChange(t *testing.T) {
	names := namesIn(t, true)
	if err := names.Boot("web", &guestconfig.Network{}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, names.Etc+"/hosts"); !strings.Contains(got, "127.0.1.1\tweb\n") {
		t.Fatalf("hosts %q", got)
	}
	os.WriteFile(names.Etc+"/hosts", []byte("10.0.0.1 before\n"+read(t, names.Etc+"/hosts")+"10.0.0.2 after\n"), 0o644)

	for range 2 {
		if err := names.Change("clone", &twoAddresses); err != nil {
			t.Fatal(err)
		}
	}
	if err := names.Boot("clone", &twoAddresses); err != nil {
		t.Fatal(err)
	}
	hosts := read(t, names.Etc+"/hosts")
	if !strings.HasPrefix(hosts, "10.0.0.1 before\n") || !strings.HasSuffix(hosts, "10.0.0.2 after\n") {
		t.Errorf("the user's lines are not there: %q", hosts)
	}
	if strings.Contains(hosts, "web") || strings.Count(hosts, "172.30.0.2\tclone\n") != 1 {
		t.Errorf("hosts %q", hosts)
	}
}

func TestNamesKeepWhatIsNotTheirs(t *testing.T) {
	names := namesIn(t, false)
	os.WriteFile(names.Etc+"/hosts", []byte("image's\n"), 0o644)
	if err := names.Boot("web", &guestconfig.Network{}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, names.Etc+"/hosts"); got != "image's\n" {
		t.Errorf("replaced what is not ours: %q", got)
	}
	if got := read(t, names.Etc+"/hostname"); got != "web\n" {
		t.Errorf("hostname %q", got)
	}
}

// inMountNamespace runs the rest of the test where its mounts are nobody else's.
func inMountNamespace(t *testing.T) {
	t.Helper()
	inNamespace(t, unix.CLONE_NEWNS)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

func makeReadOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

func TestNameServersCoverAFileThatCannotBeWritten(t *testing.T) {
	inMountNamespace(t)
	for _, own := range []bool{false, true} {
		names := namesIn(t, own)
		os.WriteFile(names.Etc+"/resolv.conf", []byte("nameserver 9.9.9.9\n"), 0o644)
		makeReadOnly(t, names.Etc)
		for _, server := range []string{"1.1.1.1", "8.8.8.8"} {
			if err := names.Boot("", &guestconfig.Network{DNS: []string{server}}); err != nil {
				t.Fatal(err)
			}
			if got := read(t, names.Etc+"/resolv.conf"); got != "nameserver "+server+"\n" {
				t.Errorf("resolv.conf %q", got)
			}
		}
		unix.Unmount(names.Etc+"/resolv.conf", unix.MNT_DETACH)
		if got := read(t, names.Etc+"/resolv.conf"); got != "nameserver 9.9.9.9\n" {
			t.Errorf("the file itself was changed: %q", got)
		}
		unix.Unmount(names.Etc, unix.MNT_DETACH)
	}
}

func TestNameServersGoWhereALinkOfAReadOnlySystemLeads(t *testing.T) {
	inMountNamespace(t)
	names := namesIn(t, false)
	target := t.TempDir() + "/resolve/stub.conf"
	os.Symlink(target, names.Etc+"/resolv.conf")
	makeReadOnly(t, names.Etc)
	defer unix.Unmount(names.Etc, unix.MNT_DETACH)
	if err := names.Boot("web", &guestconfig.Network{DNS: []string{"1.1.1.1"}}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, target); got != "nameserver 1.1.1.1\n" {
		t.Errorf("%q", got)
	}
}

func TestNameServersThatHaveNoPlaceAreAnError(t *testing.T) {
	inMountNamespace(t)
	names := namesIn(t, false)
	makeReadOnly(t, names.Etc)
	defer unix.Unmount(names.Etc, unix.MNT_DETACH)
	err := names.Boot("web", &guestconfig.Network{DNS: []string{"1.1.1.1"}})
	if err == nil || !strings.Contains(err.Error(), "resolv.conf") {
		t.Errorf("%v", err)
	}
}
