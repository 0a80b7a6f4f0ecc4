package boot

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
)

const (
	// What stands between them in /etc/hosts is replaced when the configuration changes, and nothing else.
	hostsBegin = "# smartvm: begin\n"
	hostsEnd   = "# smartvm: end\n"
)

// Names writes what a system calls itself and others.
type Names struct {
	// Etc is its /etc.
	Etc string
	// Run is a directory in memory, for files of an /etc that cannot be written to.
	Run string
	// Own says that /etc is of a layer of the VM's own: its files are replaced. Others are only made where they are
	// missing, but for the name servers, which are put over those that are there.
	Own bool
}

// Boot writes the files anew, but for those lines of /etc/hosts that a user has added in an earlier boot.
func (n Names) Boot(hostname string, network *guestconfig.Network) error {
	os.MkdirAll(n.Etc, 0o755)
	hosts, _ := os.ReadFile(n.Etc + "/hosts")
	if strings.Contains(string(hosts), hostsBegin) {
		return n.write(hostname, string(hosts), network)
	}
	return n.write(hostname, "", network)
}

// Change writes the files of a system that runs: of /etc/hosts only the part that is not the user's.
func (n Names) Change(hostname string, network *guestconfig.Network) error {
	hosts, _ := os.ReadFile(n.Etc + "/hosts")
	return n.write(hostname, string(hosts), network)
}

func (n Names) write(hostname, oldHosts string, network *guestconfig.Network) error {
	var errs []error
	if hostname != "" {
		errs = append(errs, n.put("hostname", hostname+"\n"))
		errs = append(errs, n.put("hosts", withHosts(oldHosts, hosts(hostname, network))))
	}
	if len(network.DNS) > 0 {
		errs = append(errs, n.replace("resolv.conf", "nameserver "+strings.Join(network.DNS, "\nnameserver ")+"\n"))
	}
	return errors.Join(errs...)
}

func (n Names) put(name, content string) error {
	if _, err := os.Stat(n.Etc + "/" + name); err == nil && !n.Own {
		return nil
	}
	err := n.replace(name, content)
	if !n.Own && errors.Is(err, os.ErrNotExist) {
		return nil // a read-only system that has no such file does without
	}
	return err
}

// replace makes a file have this content; one that cannot be replaced is covered.
func (n Names) replace(name, content string) error {
	path := n.Etc + "/" + name
	_, err := os.Stat(path)
	if n.Own || err != nil {
		if err := swap(path, content); err == nil {
			return nil
		}
	}
	return n.cover(name, content)
}

// swap puts a new file in place of one, which is often a symbolic link to what a resolver that does not run here would
// write.
func swap(path, content string) error {
	temp := filepath.Join(filepath.Dir(path), ".smartvm-"+filepath.Base(path))
	defer os.Remove(temp)
	if err := os.WriteFile(temp, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// cover mounts a file in memory over one of a file system that cannot be written to, or makes what a link points at.
func (n Names) cover(name, content string) error {
	path, cover := n.Etc+"/"+name, n.Run+"/"+name
	if err := os.MkdirAll(n.Run, 0o755); err != nil {
		return err
	}
	isCovered := isSameFile(path, cover)
	if err := os.WriteFile(cover, []byte(content), 0o644); err != nil || isCovered {
		return err
	}
	if target, err := os.Readlink(path); err == nil {
		if _, err := os.Stat(path); err != nil {
			return makeTarget(n.Etc, target, content)
		}
	}
	if err := unix.Mount(cover, path, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount over", Path: path, Err: err}
	}
	return nil
}

func makeTarget(dir, target, content string) error {
	if !filepath.IsAbs(target) {
		target = filepath.Join(dir, target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, []byte(content), 0o644)
}

func isSameFile(a, b string) bool {
	first, errA := os.Stat(a)
	second, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(first, second)
}

// hosts are the names that are known without a name server. The host's own one leads to its addresses.
func hosts(hostname string, network *guestconfig.Network) string {
	names := hostname
	if short, _, isLong := strings.Cut(hostname, "."); isLong {
		names += " " + short
	}
	var own strings.Builder
	for i := range network.Interfaces {
		for _, cidr := range network.Interfaces[i].Addresses {
			if prefix, err := netip.ParsePrefix(cidr); err == nil {
				own.WriteString(prefix.Addr().String() + "\t" + names + "\n")
			}
		}
	}
	if own.Len() == 0 {
		own.WriteString("127.0.1.1\t" + names + "\n")
	}
	return "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" + own.String()
}

// withHosts is a file with this as our part of it: where that was, or else at its beginning.
func withHosts(old, ours string) string {
	block := hostsBegin + ours + hostsEnd
	before, rest, hasBegin := strings.Cut(old, hostsBegin)
	_, after, hasEnd := strings.Cut(rest, hostsEnd)
	if hasBegin && hasEnd {
		return before + block + after
	}
	return block + old
}
