// Package kmod loads the kernel modules that an initramfs carries, for the devices at hand and by name.
package kmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxIndexBytes bounds modules.json.
const maxIndexBytes = 8 << 20

// Module is an entry of modules.json.
type Module struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Depends []string `json:"depends"`
	// Aliases are the patterns of the modaliases that the module is for, and its names like fs-ext4.
	Aliases []string `json:"aliases"`
}

// Loader loads each module at most once.
type Loader struct {
	// insert loads one module into the kernel.
	insert func(*Module) error

	mu     sync.Mutex
	byName map[string]*Module
	// order is the index's, dependencies before dependents.
	order []*Module
	tried map[*Module]error
	seen  map[string]bool
}

// Open reads an index of modules whose paths are relative to the directory root. Without an index everything is taken
// to be built in.
func Open(root *os.File, index string) (*Loader, error) {
	l := newLoader(func(m *Module) error { return insert(root, m) })
	file, err := os.Open(index)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxIndexBytes)).Decode(&l.order); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	for _, m := range l.order {
		l.byName[canonical(m.Name)] = m
	}
	return l, nil
}

func newLoader(insert func(*Module) error) *Loader {
	return &Loader{insert: insert, byName: map[string]*Module{}, tried: map[*Module]error{}, seen: map[string]bool{}}
}

// canonical is the kernel's own view: it takes - and _ in a module's name for the same.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

func insert(root *os.File, m *Module) error {
	path := strings.TrimPrefix(m.Path, "/")
	fd, err := unix.Openat(int(root.Fd()), path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: m.Path, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("module %s: %w", m.Name, err)
	}
	// It is in the kernel now: the initramfs's copy would only take memory.
	unix.Unlinkat(int(root.Fd()), path, 0)
	return nil
}

// Load loads the modules called name, by name or alias, and what they depend on. An unknown name is no error: the
// kernel may have it built in.
func (l *Loader) Load(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.byName[canonical(name)]; m != nil {
		return l.load(m)
	}
	return l.loadAlias(name)
}

func (l *Loader) loadAlias(alias string) error {
	var errs []error
	for _, m := range l.order {
		for _, pattern := range m.Aliases {
			if match(pattern, alias) {
				errs = append(errs, l.load(m))
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (l *Loader) load(m *Module) error {
	if err, tried := l.tried[m]; tried {
		return err
	}
	// Also ends a circle of dependencies.
	l.tried[m] = nil
	for _, name := range m.Depends {
		if dependency := l.byName[canonical(name)]; dependency != nil {
			if err := l.load(dependency); err != nil {
				l.tried[m] = err
				return err
			}
		}
	}
	l.tried[m] = l.insert(m)
	return l.tried[m]
}

// Alias loads the modules for one modalias. A module that finds no hardware for itself (ENODEV) is no error.
func (l *Loader) Alias(modalias string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[modalias] || len(l.order) == 0 {
		return nil
	}
	l.seen[modalias] = true
	if err := l.loadAlias(modalias); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// Coldplug loads the modules for the devices under sys that are there already. Those that appear because of it announce
// themselves (package uevent).
func (l *Loader) Coldplug(sys string) error {
	var errs []error
	for _, bus := range l.buses(sys) {
		dir := filepath.Join(sys, "bus", bus, "devices")
		for _, device := range names(dir) {
			// Many devices have none.
			if modalias, err := os.ReadFile(dir + "/" + device + "/modalias"); err == nil {
				errs = append(errs, l.Alias(strings.TrimSpace(string(modalias))))
			}
		}
	}
	return errors.Join(errs...)
}

// buses are the ones whose devices some module may be for: reading all of sysfs takes long. PCI comes first, for the
// host's way in hangs there.
func (l *Loader) buses(sys string) []string {
	wanted := map[string]bool{}
	for _, m := range l.order {
		for _, alias := range m.Aliases {
			switch scheme, _, ok := strings.Cut(alias, ":"); {
			case !ok:
				// A name, not a modalias.
			case strings.HasPrefix(scheme, "acpi"):
				wanted["acpi"], wanted["platform"] = true, true
			case scheme == "of":
				wanted["platform"] = true
			default:
				wanted[scheme] = true
			}
		}
	}
	var buses []string
	for _, bus := range names(filepath.Join(sys, "bus")) {
		switch {
		case bus == "pci" && wanted[bus]:
			buses = append([]string{bus}, buses...)
		case wanted[bus]:
			buses = append(buses, bus)
		}
	}
	return buses
}

func names(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	// What could be read is what there is.
	entries, _ := d.Readdirnames(-1)
	return entries
}
