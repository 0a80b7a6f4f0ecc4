package main

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { probes["filter"] = filterAttempts }

// filterAttempts are calls that answer otherwise, also to one without capabilities, where no filter stands before them.
func filterAttempts() []attempt {
	var buffer [1]byte
	vector := uintptr(unsafe.Pointer(&unix.Iovec{Base: &buffer[0], Len: 1}))
	pid, here := uintptr(unix.Getpid()), uintptr(unsafe.Pointer(&[]byte(".\x00")[0]))
	at := ^uintptr(99) // AT_FDCWD
	none := ^uintptr(0)
	return []attempt{
		{"ptrace", call(unix.SYS_PTRACE, unix.PTRACE_CONT, none)},
		{"process_vm_readv", call(unix.SYS_PROCESS_VM_READV, pid, vector, 1, vector, 1, 0)},
		{"process_vm_writev", call(unix.SYS_PROCESS_VM_WRITEV, pid, vector, 1, vector, 1, 0)},
		{"pidfd_getfd", call(unix.SYS_PIDFD_GETFD, none)},
		{"unshare", call(unix.SYS_UNSHARE, unix.CLONE_FILES)},
		{"setns", call(unix.SYS_SETNS, none)},
		{"clone", func() error { return forked(unix.CLONE_NEWUSER) }},
		{"clone plain", func() error { return forked(0) }},
		{"clone3", call(unix.SYS_CLONE3)},
		{"open_tree", call(unix.SYS_OPEN_TREE, at, here, 0)},
		{"fsconfig", call(unix.SYS_FSCONFIG, none)},
		{"name_to_handle_at", call(unix.SYS_NAME_TO_HANDLE_AT, none)},
		{"perf_event_open", call(unix.SYS_PERF_EVENT_OPEN)},
		{"userfaultfd", call(unix.SYS_USERFAULTFD, 1)}, // UFFD_USER_MODE_ONLY
		{"keyctl", call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, sessionKeyring)},
		{"add_key", call(unix.SYS_ADD_KEY)},
		{"request_key", call(unix.SYS_REQUEST_KEY)},
		{"personality", call(unix.SYS_PERSONALITY, 0xffffffff)},
		{"io_uring_setup", call(unix.SYS_IO_URING_SETUP)},
	}
}

var filterAnswers = map[string]string{
	"ptrace": "EPERM", "process_vm_readv": "EPERM", "process_vm_writev": "EPERM", "pidfd_getfd": "EPERM",
	"unshare": "EPERM", "setns": "EPERM", "clone": "EPERM", "clone plain": "done", "clone3": "ENOSYS",
	"open_tree": "EPERM", "fsconfig": "EPERM", "name_to_handle_at": "EPERM", "perf_event_open": "EPERM",
	"userfaultfd": "EPERM", "keyctl": "EPERM", "add_key": "EPERM", "request_key": "EPERM", "personality": "EPERM",
	"io_uring_setup": "ENOSYS",
}

const sessionKeyring = ^uintptr(2) // KEY_SPEC_SESSION_KEYRING

// forked makes a process that ends at once.
func forked(flags uintptr) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

func TestAViewHasAFilterOfSystemCalls(t *testing.T) {
	b := newBench(t)
	wantAnswers(t, b.output(b.bindProbe("filter")), filterAnswers)
}

// As smartvm-qemu, the first process, reads what QEMU, its child, has in memory, and fills the file that it is.
func TestNoProcessOfAVMMWritesAnothersMemory(t *testing.T) {
	b := newBench(t)
	said := b.output(`(exec 3<>/proc/1/mem) 2>/dev/null && echo 'memory is writable'
sleep 60 & child=$!; (exec 3</proc/$child/mem) && echo "a child's memory is readable"
(exec 3>/proc/self/comm) 2>/dev/null && echo 'proc is writable'
exec 4>/tmp/file; rm /tmp/file; echo filled > /proc/self/fd/4 && echo "an open file is writable"; kill $child`)
	if said != "a child's memory is readable\nan open file is writable\n" {
		t.Fatalf("%q", said)
	}
}
