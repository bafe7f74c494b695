package source

import (
	"errors"
	"strings"
	"testing"

	"weir/internal/platform"
)

func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{
		"https://us3r:passw0rd@h/x", "https://t0ken@h/x?y#z", "git@h:x", "file:///x", "-x", "ext::sh", "http://h/%zz", "ssh://-o@h", "ssh://u:passw0rd@h/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := parseRemote(raw, false)
		if err != nil {
			return
		}
		if strings.HasPrefix(r.url, "-") || r.scheme == "file" || r.url == "" {
			t.Errorf("%q became %q", raw, r.url)
		}
		for _, secret := range r.secrets {
			if strings.Contains(r.scrub("x "+secret+" y"), secret) && !strings.Contains("***", secret) {
				t.Errorf("%q shows its secret %q", raw, secret)
			}
		}
		if _, pass, ok := strings.Cut(raw, ":passw0rd@"); ok && r.shown != raw && strings.Contains(r.shown, "passw0rd") && !strings.Contains(pass, "passw0rd") {
			t.Errorf("%q is shown as %q", raw, r.shown)
		}
	})
}

func TestExplain_TellsTheCauseNotTheAdvice(t *testing.T) {
	const advice = "fatal: Could not read from remote repository.\n\n" +
		"Please make sure you have the correct access rights\nand the repository exists."
	r := remote{shown: "/srv/x.git"}
	for stderr, want := range map[string]string{
		"fatal: detected dubious ownership in repository at '/srv/x.git'\nTo add …\n" + advice: "fetching /srv/x.git: the repository belongs to another user than weir runs as",
		advice: "fetching /srv/x.git failed: Could not read from remote repository.",
		"warning: x\nfatal: protocol error: bad line": "fetching /srv/x.git failed: protocol error: bad line",
		"error: one\nerror: two":                      "fetching /srv/x.git failed: error: two",
		"":                                            "fetching /srv/x.git failed: exit status 128",
	} {
		e, ok := errors.AsType[*platform.Error](r.explain(stderr, errors.New("exit status 128")))
		if !ok || e.Msg != want {
			t.Errorf("of %q\ngot  %+v\nwant %q", stderr, e, want)
		}
	}
}
