// Package jail makes the view of the machine that one VMM has. Everything that the VMM may open is bound, at the path
// that it has on the host, into a root of its own: on a tmpfs that exists only in the VMM's mount namespace, so the
// kernel takes it all away when the VMM ends.
package jail

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Spec is jail.json.
type Spec struct {
	// An existing directory, where the tmpfs is mounted; and the root of the jail below it.
	Base string `json:"base"`
	Root string `json:"root"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// What is bound into the root.
	Mounts []Mount `json:"mounts"`
	// Symbolic links in the root, by their paths.
	Links map[string]string `json:"links"`
	// Directories of cgroups that the VMM joins.
	Cgroups []string `json:"cgroups"`
	// A network namespace of its own, with a loopback interface.
	PrivateNetwork bool `json:"privateNetwork"`
	// The path of a network namespace that the VMM is put in.
	NetworkNamespace string `json:"networkNamespace"`
	// TAP devices that are the uid's for as long as the VMM lives.
	Taps []string `json:"taps"`
	// The path of a FIFO that is the VMM's standard error, so that it can be told to log there.
	StderrFIFO string `json:"stderrFifo"`
	// How to enter the root. None: the command does so by itself, as Firecracker's jailer.
	Enter *Enter `json:"enter"`
}

// Mount is a file or directory of the host, at the same path inside.
type Mount struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable"`
	// With what is mounted below it.
	Recursive bool `json:"recursive"`
}

// Enter is what a command finds that is run inside the root.
type Enter struct {
	// Character devices, made with the numbers that the host's have; one that the host lacks is left out.
	Devices []string `json:"devices"`
	// The /proc of the VMM's process namespace.
	Proc bool `json:"proc"`
	// The size of the tmpfs on /tmp; 0: none.
	TmpBytes      int64  `json:"tmpBytes"`
	OpenFiles     uint64 `json:"openFiles"`
	FileSizeBytes uint64 `json:"fileSizeBytes"`
	Hostname      string `json:"hostname"`
}

// Read reads and checks a jail.json.
func Read(path string) (*Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec := new(Spec)
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// What is mounted on a directory must come after it.
	slices.SortStableFunc(spec.Mounts, func(a, b Mount) int { return strings.Compare(a.Path+"/", b.Path+"/") })
	return spec, nil
}

func (s *Spec) check() error {
	if !isPath(s.Base) || !isPath(s.Root) || !strings.HasPrefix(s.Root, s.Base+"/") {
		return fmt.Errorf("root %q is not a path below base %q", s.Root, s.Base)
	}
	if s.UID <= 0 || s.GID <= 0 {
		return fmt.Errorf("uid %d and gid %d must not be the superuser's", s.UID, s.GID)
	}
	for _, mount := range s.Mounts {
		if err := mount.check(); err != nil {
			return err
		}
	}
	paths := slices.Clone(s.Cgroups)
	for link := range s.Links {
		paths = append(paths, link)
	}
	if s.StderrFIFO != "" {
		paths = append(paths, s.StderrFIFO)
	}
	if s.NetworkNamespace != "" {
		paths = append(paths, s.NetworkNamespace)
	}
	if s.Enter != nil {
		paths = append(paths, s.Enter.Devices...)
	}
	for _, path := range paths {
		if !isPath(path) {
			return fmt.Errorf("%q is not a clean absolute path", path)
		}
	}
	return nil
}

func (m Mount) check() error {
	if !isPath(m.Path) {
		return fmt.Errorf("%q is not a clean absolute path", m.Path)
	}
	return nil
}

func isPath(path string) bool {
	return len(path) > 1 && filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0)
}

// ownsTmp is true where /tmp is the jail's own rather than the host's.
func (s *Spec) ownsTmp() bool {
	return s.Enter != nil && s.Enter.TmpBytes > 0
}
