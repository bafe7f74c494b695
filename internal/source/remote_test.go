package source

import (
	"strings"
	"testing"
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
