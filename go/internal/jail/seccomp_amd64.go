package jail

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// legacySetIDRules are of the system calls that younger architectures do without.
var legacySetIDRules = []rule{
	{unix.SYS_CHMOD, unix.EPERM, []bits{{1, setIDs}}},
	{unix.SYS_OPEN, unix.EPERM, []bits{{1, creating}, {2, setIDs}}},
	{unix.SYS_CREAT, unix.EPERM, []bits{{1, setIDs}}},
	{unix.SYS_MKDIR, unix.EPERM, []bits{{1, setIDs}}},
	{unix.SYS_MKNOD, unix.EPERM, []bits{{1, setIDs}}},
}

var legacyViewRules = refuse(unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT)
