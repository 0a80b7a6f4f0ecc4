package kmod

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxTableBytes bounds each of depmod's tables.
const maxTableBytes = 64 << 20

// moduleInitCompressedFile says that the file is compressed: the kernel unpacks it, where it can.
const moduleInitCompressedFile = 4

// Modprobe loads the modules called name, by name or alias, and what they depend on, as modprobe(8) does by the tables
// that depmod(8) wrote into dir. It is for guests whose image has no modprobe; their kernel asks for modules all the same.
func Modprobe(dir, name string) error {
	return probe(dir, name, insertFile)
}

func probe(dir, name string, insert func(path string) error) error {
	table, err := dependencies(dir)
	if err != nil {
		return err
	}
	wanted := []string{canonical(name)}
	if _, ok := table[wanted[0]]; !ok {
		if wanted, err = aliased(dir, name); err != nil {
			return err
		}
	}
	if len(wanted) == 0 {
		if builtin(dir, name) {
			return nil
		}
		return fmt.Errorf("module %.64q: %w", name, unix.ENOENT)
	}
	var errs []error
	done := map[string]bool{}
	for _, module := range wanted {
		errs = append(errs, load(dir, module, table, done, insert))
	}
	return errors.Join(errs...)
}

// load inserts what a module needs before itself.
func load(dir, module string, table map[string][]string, done map[string]bool, insert func(string) error) error {
	paths, ok := table[module]
	if !ok || done[module] {
		return nil
	}
	done[module] = true
	for _, soft := range softDependencies(dir, module) {
		// The module works without it, if less well.
		load(dir, soft, table, done, insert)
	}
	// Each file's dependencies stand behind it.
	for _, path := range slices.Backward(paths) {
		if err := insert(filepath.Join(dir, path)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func insertFile(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = moduleInitCompressedFile
	}
	return unix.FinitModule(fd, "", flags)
}

// dependencies is modules.dep: the files of each module, its own first.
func dependencies(dir string) (map[string][]string, error) {
	table := map[string][]string{}
	err := lines(dir+"/modules.dep", func(line string) {
		if file, needs, ok := strings.Cut(line, ":"); ok {
			table[moduleOf(file)] = append([]string{file}, strings.Fields(needs)...)
		}
	})
	return table, err
}

// aliased are the modules whose aliases match, of modules.alias.
func aliased(dir, name string) ([]string, error) {
	var modules []string
	err := lines(dir+"/modules.alias", func(line string) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "alias" && (fields[1] == name || match(canonical(fields[1]), canonical(name))) {
			modules = append(modules, canonical(fields[2]))
		}
	})
	return modules, err
}

// softDependencies are those that modules.softdep wants loaded before a module.
func softDependencies(dir, module string) []string {
	var modules []string
	lines(dir+"/modules.softdep", func(line string) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "softdep" || canonical(fields[1]) != module {
			return
		}
		before := false
		for _, word := range fields[2:] {
			if strings.HasSuffix(word, ":") {
				before = word == "pre:"
			} else if before {
				modules = append(modules, canonical(word))
			}
		}
	})
	return modules
}

func builtin(dir, name string) bool {
	found := false
	lines(dir+"/modules.builtin", func(line string) { found = found || moduleOf(line) == canonical(name) })
	return found
}

// moduleOf is the module in a file: kernel/fs/fuse/fuse.ko, or with .xz, .gz or .zst behind it.
func moduleOf(file string) string {
	name, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(file)), ".ko")
	return canonical(name)
}

func lines(path string, take func(string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(io.LimitReader(file, maxTableBytes))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		take(scanner.Text())
	}
	return scanner.Err()
}
