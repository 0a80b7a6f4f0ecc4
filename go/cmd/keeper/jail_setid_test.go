package main

import (
	"maps"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { probes["setid"] = setIDAttempts }

// setIDAttempts are all the ways to a file with a setuid or setgid bit, in the working directory; and near ones.
func setIDAttempts() []attempt {
	file, err := unix.Open("plain", unix.O_CREAT|unix.O_RDWR, 0o755)
	open := func(name string, flags int, mode uint32) func() error {
		return func() error {
			fd, err := unix.Openat(unix.AT_FDCWD, name, flags, mode)
			unix.Close(fd)
			return err
		}
	}
	return append([]attempt{
		{"plain", func() error { return err }},
		{"fchmod", func() error { return unix.Fchmod(file, 0o4755) }},
		{"fchmod setgid", func() error { return unix.Fchmod(file, 0o2755) }},
		{"fchmod sticky", func() error { return unix.Fchmod(file, 0o1711) }},
		{"fchmodat", func() error { return unix.Fchmodat(unix.AT_FDCWD, "plain", 0o4755, 0) }},
		{"fchmodat plain", func() error { return unix.Fchmodat(unix.AT_FDCWD, "plain", 0o755, 0) }},
		{"fchmodat2", func() error {
			return unix.Fchmodat(unix.AT_FDCWD, "plain", 0o4755, unix.AT_SYMLINK_NOFOLLOW)
		}},
		{"openat", open("opened", unix.O_CREAT|unix.O_RDWR, 0o4755)},
		{"openat setgid", open("opened", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o2755)},
		{"openat unnamed", open(".", unix.O_TMPFILE|unix.O_RDWR, 0o4755)},
		{"openat that makes nothing", open("plain", unix.O_RDONLY, 0o4755)},
		{"openat of a directory", open(".", unix.O_DIRECTORY, 0o4755)},
		{"openat2", func() error {
			_, err := unix.Openat2(unix.AT_FDCWD, "opened", &unix.OpenHow{Flags: unix.O_CREAT, Mode: 0o4755})
			return err
		}},
		{"mkdirat", func() error { return unix.Mkdirat(unix.AT_FDCWD, "made", 0o2755) }},
		{"mkdirat plain", func() error { return unix.Mkdirat(unix.AT_FDCWD, "made", 0o755) }},
		{"mknodat", func() error { return unix.Mknodat(unix.AT_FDCWD, "node", unix.S_IFREG|0o4755, 0) }},
		{"mknodat plain", func() error { return unix.Mknodat(unix.AT_FDCWD, "node", unix.S_IFREG|0o755, 0) }},
	}, legacySetIDAttempts()...)
}

var setIDAnswers = map[string]string{
	"plain": "done", "fchmod": "EPERM", "fchmod setgid": "EPERM", "fchmod sticky": "done", "fchmodat": "EPERM",
	"fchmodat plain": "done", "fchmodat2": "EPERM", "openat": "EPERM", "openat setgid": "EPERM",
	"openat unnamed": "EPERM", "openat that makes nothing": "done", "openat of a directory": "done",
	"openat2": "ENOSYS", "mkdirat": "EPERM", "mkdirat plain": "done", "mknodat": "EPERM", "mknodat plain": "done",
}

func TestAVMMLeavesNoSetuidFileOnTheHost(t *testing.T) {
	want := maps.Clone(setIDAnswers)
	maps.Copy(want, legacySetIDAnswers)
	for name, arrange := range map[string]func(*bench, string){
		"id-mapped": func(*bench, string) {},
		"its own":   func(b *bench, folder string) { os.Chown(folder, jailUID, jailUID) },
		// As a jailer is run: as root, on the host's files.
		"without a view": func(b *bench, _ string) { b.spec.Enter = nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			folder := b.file("folder")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			arrange(b, folder)
			b.bind(folder, true)
			wantAnswers(t, b.output("cd "+folder+" && "+b.bindProbe("setid")), want)
			wantNoSetID(t, folder)
		})
	}
}
