package boot

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SeedRandom credits seed to the kernel's random pool and makes the generator take it up at once: a clone of a snapshot
// must not go on with its twin's stream. See random(4).
func SeedRandom(seed []byte) error {
	if len(seed) == 0 {
		return nil
	}
	fd, err := unix.Open("/dev/urandom", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/urandom", Err: err}
	}
	defer unix.Close(fd)
	// struct rand_pool_info: bits of entropy, bytes of data, data.
	info := binary.NativeEndian.AppendUint32(nil, uint32(len(seed)*8))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	if err := ioctlBytes(fd, unix.RNDADDENTROPY, info); err != nil {
		return os.NewSyscallError("RNDADDENTROPY", err)
	}
	// Kernels before 4.18 have no such request.
	unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0)
	return nil
}

// SetClock sets the time of day, in milliseconds since 1970.
func SetClock(ms int64) error {
	value := unix.NsecToTimeval(ms * int64(time.Millisecond))
	return os.NewSyscallError("settimeofday", unix.Settimeofday(&value))
}

// AdvanceClock sets a clock that is behind ms. A machine without one wakes in 1970.
func AdvanceClock(ms int64) error {
	if time.Now().UnixMilli() >= ms {
		return nil
	}
	return SetClock(ms)
}

// WriteMachineID gives a system that has none an id of its own (machine-id(5)).
func WriteMachineID(path string) {
	old, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(old)); err == nil && id != "" && id != "uninitialized" {
		return
	}
	var id [16]byte
	rand.Read(id[:])
	// The bits of a random UUID, which is what machine-id(5) asks for.
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	os.WriteFile(path, []byte(hex.EncodeToString(id[:])+"\n"), 0o444)
}
