package jail

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// It has no older forms of what the rules are of.
var legacySetIDRules, legacyViewRules []rule
