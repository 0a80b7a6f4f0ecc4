package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The files here are in memory, where what an image says of the same in /etc goes first if it has the same name.
const (
	networkdFile       = "systemd/network/00-smartvm.network"
	networkManagerFile = "NetworkManager/conf.d/00-smartvm.conf"
)

// KeepNetwork tells the network managers that an image's init may start which interfaces are not theirs: addresses, routes and names of
// those that have addresses of the host are the host's to say. run is the guest's /run.
func KeepNetwork(run string, interfaces []InterfaceStatus) error {
	var names, macs []string
	states := "lo=lo\n"
	for i := range interfaces {
		if len(interfaces[i].Addresses) == 0 {
			continue
		}
		names = append(names, interfaces[i].Name)
		macs = append(macs, "mac:"+interfaces[i].MAC)
		// What ifupdown's and busybox's `ifup -a` takes to be up already.
		states += fmt.Sprintf("%s=%[1]s\n", interfaces[i].Name)
	}
	if len(names) == 0 {
		return nil
	}
	for name, content := range map[string]string{
		networkdFile:       "[Match]\nName=" + strings.Join(names, " ") + "\n\n[Link]\nUnmanaged=yes\n",
		networkManagerFile: "[keyfile]\nunmanaged-devices+=" + strings.Join(macs, ";") + "\n",
		"network/ifstate":  states,
		"ifstate":          states,
	} {
		if err := writeBelow(run, name, content); err != nil {
			return err
		}
	}
	return nil
}

// NoLogins has systemd start no login on terminals: there is no screen, and the serial console is where the host reads what the guest has
// to say.
func NoLogins(run string) error {
	unit := filepath.Join(run, "systemd/system/getty.target")
	if err := os.MkdirAll(filepath.Dir(unit), 0o755); err != nil {
		return err
	}
	return os.Symlink(os.DevNull, unit)
}

func writeBelow(dir, name, content string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
