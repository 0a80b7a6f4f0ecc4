package files

import (
	"io/fs"
	"os"
	"syscall"
)

// facts are what stat(2) says of a file.
type facts struct {
	Name    []byte `json:"name,omitempty"`
	Type    string `json:"type"`
	Size    int64  `json:"size"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	MtimeNs int64  `json:"mtimeNs,string"`
	// Target is where a symbolic link leads.
	Target []byte `json:"target,omitempty"`
}

func factsOf(path string, info fs.FileInfo) facts {
	st := info.Sys().(*syscall.Stat_t)
	f := facts{
		Type: typeOf(info.Mode()), Size: info.Size(), Mode: uint32(st.Mode) & 0o7777, UID: st.Uid, GID: st.Gid,
		MtimeNs: info.ModTime().UnixNano(),
	}
	if f.Type == "symlink" {
		// One that has gone since then leads nowhere.
		target, _ := os.Readlink(path)
		f.Target = []byte(target)
	}
	return f
}

func typeOf(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symlink"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "block-device"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "character-device"
	}
	return "unknown"
}
