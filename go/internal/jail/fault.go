package jail

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The codes of what fails: those of the project's table of errors.
const (
	Failed            = "JAIL_FAILED"
	PathUnreadable    = "JAIL_PATH_UNREADABLE"
	CommandUnspawned  = "VMM_SPAWN_FAILED"
	CgroupUnavailable = "CGROUP_UNAVAILABLE"
)

// Fault is an error with one of the codes.
type Fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (f *Fault) Error() string { return f.Message }

func faultf(code, format string, args ...any) error {
	return &Fault{code, fmt.Sprintf(format, args...)}
}

// AsFault gives an error without a code the general one.
func AsFault(err error) *Fault {
	if fault := new(Fault); errors.As(err, &fault) {
		return fault
	}
	return &Fault{Failed, err.Error()}
}

// ParseFault reads what Confine wrote to its status pipe: nothing, where it has become the command.
func ParseFault(status []byte) error {
	if len(status) == 0 {
		return nil
	}
	fault := new(Fault)
	if err := json.Unmarshal(status, fault); err != nil {
		return faultf(Failed, "the jail's last word is cut off: %q", status)
	}
	return fault
}
