package passwd

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestLookup(t *testing.T) {
	etc := t.TempDir()
	passwd := "root:x:0:0:root:/root:/bin/bash\n# comment\nbad:x:y:0::/:\nweb:x:1000:1001:Web,,,:/srv/web:/bin/zsh\nplain:x:7:8:::\n"
	group := "root:x:0:\naudio:x:29:web,other\nvideo:x:44:other\nstaff:x:50:web\n"
	os.WriteFile(filepath.Join(etc, "passwd"), []byte(passwd), 0o644)
	os.WriteFile(filepath.Join(etc, "group"), []byte(group), 0o644)
	for name, want := range map[string]User{
		"root":      {"root", 0, 0, nil, "/root", "/bin/bash"},
		"web":       {"web", 1000, 1001, []uint32{29, 50}, "/srv/web", "/bin/zsh"},
		"1000":      {"web", 1000, 1001, []uint32{29, 50}, "/srv/web", "/bin/zsh"},
		"1000:29":   {"web", 1000, 29, nil, "/srv/web", "/bin/zsh"},
		"web:video": {"web", 1000, 44, nil, "/srv/web", "/bin/zsh"},
		"7:staff":   {"plain", 7, 50, nil, "/", "/bin/sh"},
		"plain":     {"plain", 7, 8, nil, "/", "/bin/sh"},
		"4242:43":   {"4242", 4242, 43, nil, "/", "/bin/sh"},
	} {
		if got, err := Lookup(etc, name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v (%v), want %+v", name, got, err, want)
		}
	}
	for _, name := range []string{"nobody", "bad", "", "1:x", "-1", "web:gone", "web:"} {
		if user, err := Lookup(etc, name); err == nil {
			t.Errorf("%q: %+v", name, user)
		}
	}
}

func TestRootNeedsNoPasswd(t *testing.T) {
	if user, err := Lookup(t.TempDir(), "root"); err != nil || user.UID != 0 || user.Shell != "/bin/sh" {
		t.Fatalf("%+v %v", user, err)
	}
}
