package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"virtio:d00000002v*", "virtio:d00000002v00001AF4", true},
		{"virtio:d00000002v*", "virtio:d00000003v00001AF4", false},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00", true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00008086d00001042sv00001AF4sd00001100bc01sc00i00", false},
		{"cpu:type:x86,ven*fam*mod*:feature:*0099*", "cpu:type:x86,ven0002fam000Fmod006B:feature:,0000,0099,00C0", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"a?", "a", false},
		{"x[0-9A-F]y", "xBy", true}, {"x[0-9A-F]y", "xGy", false}, {"x[ab", "xa", false}, {"[]]", "]", true},
		{"*", "", true}, {"**a", "ba", true}, {"", "", true}, {"", "a", false}, {"abc", "ab", false},
		{"of:N*T*Cvirtio,mmio", "of:Nvirtio_mmioT(null)Cvirtio,mmio", true},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// fakeKernel is a Loader over a kernel that notes what is inserted, and calls hook on each.
func fakeKernel(modules []*Module, hook func(*Module) error) (*Loader, *[]string) {
	var inserted []string
	l := newLoader(func(m *Module) error {
		inserted = append(inserted, m.Name)
		return hook(m)
	})
	l.order = modules
	for _, m := range modules {
		l.byName[canonical(m.Name)] = m
	}
	return l, &inserted
}

func addDevice(t *testing.T, sys, bus, name, modalias string) {
	t.Helper()
	dir := filepath.Join(sys, "bus", bus, "devices", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "modalias"), []byte(modalias+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestColdplugLoadsDependenciesFirst(t *testing.T) {
	sys := t.TempDir()
	addDevice(t, sys, "pci", "0000:00:01.0", "pci:v1AF4")
	addDevice(t, sys, "acpi", "LNRO0005:00", "acpi:LNRO0005:")
	modules := []*Module{
		{Name: "virtio"},
		{Name: "virtio_ring", Depends: []string{"virtio"}},
		{Name: "virtio_pci", Depends: []string{"virtio", "virtio_ring"}, Aliases: []string{"pci:v1AF4*"}},
		{Name: "virtio_mmio", Depends: []string{"virtio"}, Aliases: []string{"acpi*:LNRO0005:*", "of:N*T*Cvirtio,mmio"}},
		{Name: "virtio_blk", Depends: []string{"virtio-ring", "built_in"}, Aliases: []string{"virtio:d2v*"}},
		{Name: "unused", Aliases: []string{"virtio:d9v*"}},
	}
	addDevice(t, sys, "usb", "1-1", "usb:v1")
	l, inserted := fakeKernel(modules, func(*Module) error { return nil })
	if err := l.Coldplug(sys); err != nil {
		t.Fatal(err)
	}
	if err := l.Alias("virtio:d2v1AF4"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"virtio", "virtio_ring", "virtio_pci", "virtio_mmio", "virtio_blk"}; !slices.Equal(*inserted, want) {
		t.Fatalf("loaded %v, want %v", *inserted, want)
	}
}

func TestLoadByNameAndAlias(t *testing.T) {
	modules := []*Module{
		{Name: "overlay", Aliases: []string{"fs-overlay"}},
		{Name: "a", Depends: []string{"b"}},
		{Name: "b", Depends: []string{"a"}},
		{Name: "broken", Depends: []string{"unfit"}},
		{Name: "unfit", Aliases: []string{"cpu:*"}},
	}
	l, inserted := fakeKernel(modules, func(m *Module) error {
		if m.Name == "unfit" {
			return fmt.Errorf("module unfit: %w", unix.ENODEV)
		}
		return nil
	})
	for _, name := range []string{"fs-overlay", "overlay", "a", "built-in"} {
		if err := l.Load(name); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"overlay", "b", "a"}; !slices.Equal(*inserted, want) {
		t.Fatalf("loaded %v, want %v", *inserted, want)
	}
	if err := l.Alias("cpu:x"); err != nil {
		t.Fatal("no hardware is no error for a device's alias:", err)
	}
	if err := l.Load("broken"); !errors.Is(err, unix.ENODEV) {
		t.Fatal("a dependency that failed:", err)
	}
}

func TestOpenWithoutIndexAndWithABadOne(t *testing.T) {
	dir := t.TempDir()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l, err := Open(root, filepath.Join(dir, "absent.json"))
	if err != nil || l.Coldplug("/sys") != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "modules.json")
	if err := os.WriteFile(bad, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, bad); err == nil {
		t.Fatal("read a truncated index")
	}
}
