// Package passwd looks users up in /etc/passwd and /etc/group (passwd(5), group(5)).
package passwd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxBytes bounds each of the files, which are the guest's to write.
const maxBytes = 4 << 20

// User is what a process of the user needs.
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32
	Home     string
	Shell    string
}

// Root is the user that a guest without /etc/passwd has too.
func Root() User { return User{Name: "root", Home: "/root", Shell: "/bin/sh"} }

// Lookup finds a user by name or UID, as OCI images write them, in the files under etc. A number needs no entry. A group
// behind a colon, by name or GID, is the only one that the process has then.
func Lookup(etc, name string) (User, error) {
	name, group, grouped := strings.Cut(name, ":")
	user, err := lookupUser(etc, name)
	if err != nil || !grouped {
		return user, err
	}
	user.GID, err = lookupGroup(etc, group)
	user.Groups = nil
	return user, err
}

func lookupUser(etc, name string) (User, error) {
	number, err := strconv.ParseUint(name, 10, 32)
	uid, numeric := uint32(number), err == nil
	for fields := range entries(filepath.Join(etc, "passwd"), 7) {
		id, errUID := strconv.ParseUint(fields[2], 10, 32)
		group, errGID := strconv.ParseUint(fields[3], 10, 32)
		if errUID != nil || errGID != nil || fields[0] != name && !(numeric && uint32(id) == uid) {
			continue
		}
		user := User{Name: fields[0], UID: uint32(id), GID: uint32(group), Home: fields[5], Shell: fields[6]}
		user.Groups = groupsOf(etc, user.Name)
		return user.withDefaults(), nil
	}
	if numeric {
		user := User{Name: strconv.FormatUint(uint64(uid), 10), UID: uid, Home: "/"}
		return user.withDefaults(), nil
	}
	if name == "root" {
		return Root(), nil
	}
	return User{}, fmt.Errorf("user %.64q is not in the guest's /etc/passwd", name)
}

func (u User) withDefaults() User {
	if u.Home == "" {
		u.Home = "/"
	}
	if u.Shell == "" {
		u.Shell = "/bin/sh"
	}
	return u
}

func lookupGroup(etc, name string) (uint32, error) {
	for fields := range entries(filepath.Join(etc, "group"), 4) {
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && fields[0] == name {
			return uint32(id), nil
		}
	}
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("group %.64q is not in the guest's /etc/group", name)
	}
	return uint32(id), nil
}

func groupsOf(etc, name string) []uint32 {
	var groups []uint32
	for fields := range entries(filepath.Join(etc, "group"), 4) {
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && slices.Contains(strings.Split(fields[3], ","), name) {
			groups = append(groups, uint32(id))
		}
	}
	return groups
}

// entries yields the lines that have n fields.
func entries(path string, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		file, err := os.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		data, _ := io.ReadAll(io.LimitReader(file, maxBytes))
		for line := range strings.Lines(string(data)) {
			if fields := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(fields) == n && !yield(fields) {
				return
			}
		}
	}
}
