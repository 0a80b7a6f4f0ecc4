package jail

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// x32 is the bit of the system calls of a third kind that an x86 processor has; no architecture numbers others so high.
const x32 = 0x40000000

// setIDs are the bits of a mode by which who runs a file becomes its owner or group.
const setIDs = unix.S_ISUID | unix.S_ISGID

// creating are the flags with which open(2) takes a mode: O_CREAT, and of O_TMPFILE the bit that is not O_DIRECTORY.
const creating = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

// rule is what a system call answers instead of being made: where each of some arguments has any bit of a mask.
type rule struct {
	call   uintptr
	answer unix.Errno
	where  []bits
}

type bits struct {
	argument uint32
	mask     uint32
}

// setIDRules keep a VMM from leaving a setuid file on the host: what it makes in an id-mapped mount is root's there, and
// that the mount is nosuid holds inside alone.
var setIDRules = append([]rule{
	{unix.SYS_FCHMOD, unix.EPERM, []bits{{1, setIDs}}},
	{unix.SYS_FCHMODAT, unix.EPERM, []bits{{2, setIDs}}},
	{unix.SYS_FCHMODAT2, unix.EPERM, []bits{{2, setIDs}}},
	{unix.SYS_OPENAT, unix.EPERM, []bits{{2, creating}, {3, setIDs}}},
	{unix.SYS_MKDIRAT, unix.EPERM, []bits{{2, setIDs}}},
	{unix.SYS_MKNODAT, unix.EPERM, []bits{{2, setIDs}}},
	// Its mode is in memory, where no filter sees it. Who calls it goes on with openat.
	{unix.SYS_OPENAT2, unix.ENOSYS, nil},
}, legacySetIDRules...)

// newNamespaces are the flags of clone(2) that make one.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// viewRules keep what runs in a view from what neither QEMU nor Node.js has a use for. A jailer, which enters its root by
// itself, needs some of it.
var viewRules = slices.Concat(legacyViewRules, []rule{
	{unix.SYS_CLONE, unix.EPERM, []bits{{0, newNamespaces}}},
	// Theirs are flags and requests in memory; libraries go on with clone, and with epoll and threads.
	{unix.SYS_CLONE3, unix.ENOSYS, nil},
	{unix.SYS_IO_URING_SETUP, unix.ENOSYS, nil},
	{unix.SYS_IO_URING_ENTER, unix.ENOSYS, nil},
	{unix.SYS_IO_URING_REGISTER, unix.ENOSYS, nil},
}, refuse(
	// Other processes.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	// Namespaces and mounts.
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	// Parts of the kernel that have much to attack.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY,
	unix.SYS_REQUEST_KEY, unix.SYS_PERSONALITY,
	// The machine.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
))

func refuse(calls ...uintptr) []rule {
	rules := make([]rule, len(calls))
	for i, call := range calls {
		rules[i] = rule{call, unix.EPERM, nil}
	}
	return rules
}

// filter gives the calling thread, and the command that it executes, the filters of system calls and no way to more
// privileges.
func (s *Spec) filter() error {
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return err
	}
	rules := setIDRules
	if s.Enter != nil {
		rules = slices.Concat(setIDRules, viewRules)
	}
	program := compile(rules)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	if err != nil {
		return fmt.Errorf("filter of system calls, for which the kernel needs CONFIG_SECCOMP_FILTER: %w", err)
	}
	return nil
}

// The layout of struct seccomp_data (seccomp(2)), of whose arguments both architectures have the lower half first.
const (
	callOffset      = 0
	archOffset      = 4
	argumentsOffset = 16
	argumentBytes   = 8
)

// compile makes rules, at most one for a system call, a program of seccomp's.
func compile(rules []rule) []unix.SockFilter {
	program := []unix.SockFilter{
		load(archOffset),
		// System calls of another architecture that the processor has too, which have other numbers.
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(callOffset),
		jump(unix.BPF_JGE, x32, 0, 1),
		answer(unix.SECCOMP_RET_KILL_PROCESS),
	}
	for _, rule := range rules {
		body := rule.compile()
		program = append(program, jump(unix.BPF_JEQ, uint32(rule.call), 0, len(body)))
		program = append(program, body...)
	}
	return append(program, answer(unix.SECCOMP_RET_ALLOW))
}

// compile makes what decides over the rule's system call, whichever way.
func (r rule) compile() []unix.SockFilter {
	var body []unix.SockFilter
	for i, bits := range r.where {
		// Past the remaining tests and the refusal.
		left := 2*(len(r.where)-1-i) + 1
		body = append(body, load(argumentsOffset+argumentBytes*bits.argument), jump(unix.BPF_JSET, bits.mask, 0, left))
	}
	body = append(body, answer(unix.SECCOMP_RET_ERRNO|uint32(r.answer)))
	if len(r.where) > 0 {
		body = append(body, answer(unix.SECCOMP_RET_ALLOW))
	}
	return body
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, with uint32, met, unmet int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, Jt: uint8(met), Jf: uint8(unmet), K: with}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
