package boot

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKeepNetworkNamesWhatHasAddressesToEachManager(t *testing.T) {
	run := t.TempDir()
	interfaces := []InterfaceStatus{
		{Name: "eth0", MAC: "02:00:00:00:00:01", Addresses: []string{"172.30.0.2/24"}},
		{Name: "eth1", MAC: "02:00:00:00:00:02"},
		{Name: "eth2", MAC: "02:00:00:00:00:03", Addresses: []string{"fd53::2/64"}},
	}
	if err := KeepNetwork(run, interfaces); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"systemd/network/00-smartvm.network":    "[Match]\nName=eth0 eth2\n\n[Link]\nUnmanaged=yes\n",
		"NetworkManager/conf.d/00-smartvm.conf": "[keyfile]\nunmanaged-devices+=mac:02:00:00:00:00:01;mac:02:00:00:00:00:03\n",
		"network/ifstate":                       "lo=lo\neth0=eth0\neth2=eth2\n",
		"ifstate":                               "lo=lo\neth0=eth0\neth2=eth2\n",
	} {
		if got, err := os.ReadFile(filepath.Join(run, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestKeepNetworkLeavesManagersAloneWhereNothingIsTheHosts(t *testing.T) {
	run := t.TempDir()
	if err := KeepNetwork(run, []InterfaceStatus{{Name: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(run); len(entries) != 0 {
		t.Error(entries)
	}
}
