package handover

import (
	"bytes"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// In no file system: it is there whatever the init mounts.
	notifyAddress = "@smartvm/init"
	maxNoteBytes  = 4 << 10
)

// listen awaits that the init says that it is up, as sd_notify(3) does, and hears it out to the end: nobody is to wait for us.
func (b *Beside) listen(address string) error {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	// Any program of the guest can send something here; the kernel says who it was.
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	go func() {
		for note, control := make([]byte, maxNoteBytes), make([]byte, 256); ; {
			n, controlBytes, _, _, err := socket.ReadMsgUnix(note, control)
			if err != nil {
				return
			}
			messages, _ := unix.ParseSocketControlMessage(control[:controlBytes])
			closeDescriptors(messages)
			if senderOf(messages) == 1 && isReady(note[:n]) {
				b.up()
			}
		}
	}()
	return nil
}

// closeDescriptors lets go of what a note brings: whoever sends it, nobody here has a use for that.
func closeDescriptors(messages []unix.SocketControlMessage) {
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func senderOf(messages []unix.SocketControlMessage) int32 {
	for i := range messages {
		if credentials, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return credentials.Pid
		}
	}
	return 0
}

func isReady(note []byte) bool {
	return slices.ContainsFunc(bytes.Split(note, []byte("\n")), func(line []byte) bool { return string(line) == "READY=1" })
}
