package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testShell() *shell {
	return &shell{commands: commands(), out: newUI(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})}
}

func TestReorder_TakesFlagsBeforeAndAfterTheArguments(t *testing.T) {
	sh := testShell()
	for _, tc := range []struct {
		args string
		want string
	}{
		{"push web -m 1G", "--memory=1G -- web"},
		{"push -m 1G web", "--memory=1G -- web"},
		{"push web --memory=1G -i3", "--memory=1G --instances=3 -- web"},
		{"push web -i -1", "--instances=-1 -- web"},
		{"push web -e A=1,2 --env B==x", "--env=A=1,2 --env=B==x -- web"},
		{"push web -c -x", "--start-command=-x -- web"},
		{"push web -c=", "--start-command= -- web"},
		{"push -- -web", "-- -web"},
		{"push web --no-start=false -q", "--no-start=false --quiet -- web"},
		{"delete web -rf", "--routes --force -- web"},
		{"delete -f web -r", "--force --routes -- web"},
		{"d -fr web", "--force --routes -- web"},
		{"scale web -fm 1G", "--force --memory=1G -- web"},
		{"scale web -m1G -k2G", "--memory=1G --disk=2G -- web"},
		{"set-env web K -- -1", "-- web K -1"},
		{"logs web -n 5 -o json", "--lines=5 --output=json -- web"},
		{"target -o acme -s dev", "--org=acme --space=dev --"},
		{"target -o json", "--output=json --"},
		{"map-route web d.com -o loadbalancing=hash -ojson", "--option=loadbalancing=hash --output=json -- web d.com"},
		{"create-route d.com -n - ", "--hostname=- -- d.com"},
		{"-o json apps", "--output=json --"},
		{"-q -v apps --no-color", "--quiet --verbose --no-color --"},
	} {
		line, err := sh.split(strings.Fields(tc.args))
		if err != nil {
			t.Errorf("%s: %v", tc.args, err)
			continue
		}
		got, err := reorder(line.cmd, line.args)
		if err != nil {
			t.Errorf("%s: %v", tc.args, err)
			continue
		}
		if d := cmp.Diff(strings.Fields(tc.want), got); d != "" {
			t.Errorf("%s: %s", tc.args, d)
		}
	}
}

func TestReorder_RefusesWhatItDoesNotKnow(t *testing.T) {
	sh := testShell()
	for _, tc := range []struct{ args, msg, hint string }{
		{"push web --memroy 1G", "unknown flag --memroy", "did you mean --memory?"},
		{"push web --memory", "flag --memory needs a value", ""},
		{"push web -m -i 3", "flag -m needs a value", ""},
		{"push web -Z", "unknown flag -Z", ""},
		{"push web ---memory 1G", "unknown flag ---memory", ""},
		{"push web --no-start=maybe", `is true or false, not "maybe"`, ""},
		{"rename web -1", "unknown flag -1", "goes after --"},
		{"pusj web", `no command "pusj"`, "did you mean weir push?"},
		{"xyzzy", `no command "xyzzy"`, "weir help"},
		{"promote web", `no command "promote"`, "weir rollout promote"},
		{"set-org-role dana", `no command "set-org-role"`, "weir update-user"},
		{"--nonsense apps", "unknown flag --nonsense", ""},
	} {
		line, err := sh.split(strings.Fields(tc.args))
		if err == nil {
			_, err = reorder(line.cmd, line.args)
		}
		if err == nil {
			t.Errorf("%s: accepted", tc.args)
			continue
		}
		f := asFailure(err)
		if f.exit != exitUsage || !strings.Contains(f.msg, tc.msg) || !strings.Contains(f.hint, tc.hint) {
			t.Errorf("%s: %d %q, hint %q", tc.args, f.exit, f.msg, f.hint)
		}
	}
}

func FuzzReorder(f *testing.F) {
	f.Add("push web -m 1G -- -x")
	f.Add("-o json map-route a b -o x=y -n")
	f.Add("delete -rf=x --=y - -- --")
	sh := testShell()
	f.Fuzz(func(t *testing.T, text string) {
		line, err := sh.split(strings.Split(text, " "))
		if err != nil || line.cmd == nil || line.help {
			return
		}
		got, err := reorder(line.cmd, line.args)
		if err != nil || got == nil {
			return
		}
		// Whatever comes before the "--" is a flag in its long form.
		for _, a := range got {
			if a == "--" {
				return
			}
			if !strings.HasPrefix(a, "--") {
				t.Fatalf("%q became %q", text, got)
			}
		}
		t.Fatalf("%q became %q, without --", text, got)
	})
}

func TestNearest(t *testing.T) {
	names := []string{"push", "apps", "app", "map-route", "unmap-route", "logs"}
	for s, want := range map[string]string{
		"psuh": "push", "log": "logs", "maproute": "map-route", "zzz": "", "x": "", "appss": "apps", "unmaproute": "unmap-route",
	} {
		if got := nearest(s, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", s, got, want)
		}
	}
}
