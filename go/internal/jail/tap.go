package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tap is a TAP device that a VMM's uid owns for a while.
type Tap struct {
	Name      string `json:"name"`
	FormerUID int    `json:"formerUid"`
	FormerGID int    `json:"formerGid"`
}

// LendTaps gives TAP devices to a uid. One that is absent or in use is left alone: the VMM will say so itself.
func LendTaps(names []string, uid, gid int) ([]Tap, error) {
	var lent []Tap
	for _, name := range names {
		tap, err := lendTap(name, uid, gid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("TAP %s: %w", name, err), ReturnTaps(lent))
		}
		lent = append(lent, tap)
	}
	return lent, nil
}

// ReturnTaps gives TAP devices back to whom they belonged, or to root where that was nobody: the kernel takes no owner
// away.
func ReturnTaps(taps []Tap) error {
	var failures []error
	for _, tap := range taps {
		err := own(tap.Name, max(tap.FormerUID, 0), tap.FormerGID)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			failures = append(failures, fmt.Errorf("TAP %s: %w", tap.Name, err))
		}
	}
	return errors.Join(failures...)
}

func lendTap(name string, uid, gid int) (Tap, error) {
	formerUID, err := tapAttribute(name, "owner")
	if err != nil {
		return Tap{}, err
	}
	formerGID, err := tapAttribute(name, "group")
	if err != nil {
		return Tap{}, err
	}
	// Who may use a device that has a group must be in it, beside owning it.
	if formerGID < 0 {
		gid = -1
	}
	return Tap{name, formerUID, formerGID}, own(name, uid, gid)
}

// own sets a device's owner, and its group where that is not negative.
func own(name string, uid, gid int) error {
	flags, err := tapAttribute(name, "tun_flags")
	if err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/net/tun", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	// Attached with the flags that it has, for they would become its own.
	request.SetUint16(uint16(flags) &^ unix.IFF_PERSIST)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, uid); err != nil {
		return os.NewSyscallError("TUNSETOWNER", err)
	}
	if gid >= 0 {
		return os.NewSyscallError("TUNSETGROUP", unix.IoctlSetInt(fd, unix.TUNSETGROUP, gid))
	}
	return nil
}

// tapAttribute reads a number of /sys/class/net/NAME; owner and group are -1 where there is none.
func tapAttribute(name, attribute string) (int, error) {
	if name == "" || strings.ContainsRune(name, '/') || strings.HasPrefix(name, ".") {
		return 0, fmt.Errorf("%q is no name of an interface", name)
	}
	text, err := os.ReadFile(filepath.Join("/sys/class/net", name, attribute))
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseInt(strings.TrimSpace(string(text)), 0, 64)
	return int(number), err
}
