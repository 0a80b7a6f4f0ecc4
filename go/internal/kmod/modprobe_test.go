package kmod

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func tables(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.dep": "kernel/net/ip_tables.ko: kernel/net/x_tables.ko\n" +
			"kernel/net/x_tables.ko:\n" +
			"kernel/net/iptable_nat.ko: kernel/net/nf_nat.ko kernel/net/ip_tables.ko kernel/net/x_tables.ko\n" +
			"kernel/net/nf_nat.ko.xz:\n" +
			"kernel/fs/btrfs.ko: kernel/lib/xor.ko\nkernel/lib/crc32c.ko:\nkernel/lib/xor.ko:\nkernel/fs/fuse/fuse.ko:\n",
		"modules.alias":   "# Aliases\nalias fs-fuse fuse\nalias devname:fuse fuse\nalias pci:v00001AF4d*sv* btrfs\n",
		"modules.softdep": "softdep btrfs pre: crc32c gone post: fuse\n",
		"modules.builtin": "kernel/fs/ext4/ext4.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestModprobeLoadsWhatAModuleNeedsBeforeIt(t *testing.T) {
	dir := tables(t)
	for name, want := range map[string][]string{
		"iptable-nat":           {"x_tables.ko", "ip_tables.ko", "nf_nat.ko", "iptable_nat.ko"},
		"fs-fuse":               {"fuse.ko"},
		"pci:v00001AF4d0001sv1": {"crc32c.ko", "xor.ko", "btrfs.ko"},
		"ext4":                  nil,
	} {
		var loaded []string
		err := probe(dir, name, func(path string) error {
			loaded = append(loaded, filepath.Base(path))
			return unix.EEXIST
		})
		if err != nil || !slices.Equal(loaded, want) {
			t.Errorf("%s: %v, %v; want %v", name, loaded, err, want)
		}
	}
}

func TestModprobeSaysWhatItCannotLoad(t *testing.T) {
	dir := tables(t)
	if err := Modprobe(dir, "no-such-module"); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	if err := Modprobe(dir+"/gone", "fuse"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	refuse := func(string) error { return unix.EPERM }
	if err := probe(dir, "ip_tables", refuse); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}
