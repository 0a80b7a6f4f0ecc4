package sshd

import (
	"errors"
	"testing"

	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/passwd"
)

func TestTheImageSaysWhatACommandLeavesOpen(t *testing.T) {
	f := serve(t, func(options *Options) {
		options.Defaults = guestconfig.Defaults{Env: map[string]string{"PATH": "/bin:/usr/bin", "A": "image", "HOME": "/image"}, Cwd: "/etc", User: "app"}
		root := options.Lookup
		options.Lookup = func(name string) (passwd.User, error) {
			if name == "app" {
				user, err := root("root")
				user.Name = "app"
				return user, err
			}
			if name != "root" {
				return passwd.User{}, errors.New("no such user")
			}
			return root(name)
		}
	})
	client := f.client()
	for command, want := range map[string]string{
		`smartvm-exec {"argv":["sh","-c","echo $A $HOME $USER $PATH $PWD"]}`:                                      "image /image app /bin:/usr/bin /etc\n",
		`smartvm-exec {"argv":["sh","-c","echo $A $USER $PWD"],"user":"root","cwd":"/usr","env":{"A":"command"}}`: "command root /usr\n",
		// A login is its own user's, at home, in the image's environment.
		"echo $A $USER; pwd": "image root\n" + f.home + "\n",
	} {
		stdout, stderr, code, _ := run(t, client, command)
		if stdout != want || stderr != "" || code != 0 {
			t.Errorf("%s: %q %q %d", command, stdout, stderr, code)
		}
	}
}
