package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestEncode_BeginsWithVersionAndKind(t *testing.T) {
	b, err := encode("Thing", map[string]any{"html": "<a>&"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"apiVersion":"weir/v1","kind":"Thing","html":"<a>&"}` + "\n"; string(b) != want {
		t.Errorf("got %s", b)
	}
	if b, err = encode("Nothing", struct{}{}); err != nil || string(b) != `{"apiVersion":"weir/v1","kind":"Nothing"}`+"\n" {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestUI_WritesProgressToStderrAndNothingInJSONMode(t *testing.T) {
	for _, tc := range []struct {
		format string
		quiet  bool
		want   string
	}{{formatTable, false, "· one\nwarning: two\n"}, {formatTable, true, "warning: two\n"}, {formatJSON, false, ""}} {
		var out, errs bytes.Buffer
		u := newUI(strings.NewReader(""), &out, &errs)
		if err := u.configure(tc.format, tc.quiet, false, false); err != nil {
			t.Fatal(err)
		}
		u.step("one")
		u.banner("never without a terminal")
		u.setStatus("never either")
		b := u.startBar("Uploading", 100)
		b.add(50)
		b.end()
		u.warn("two")
		if errs.String() != tc.want || out.Len() > 0 {
			t.Errorf("%+v: %q", tc, errs.String())
		}
	}
}

func TestUI_RedrawsTheStatusLineOnATerminal(t *testing.T) {
	var errs bytes.Buffer
	u := newUI(strings.NewReader(""), &bytes.Buffer{}, &errs)
	u.errTTY, u.noColor = true, true
	b := u.startBar("Uploading", 200)
	b.add(100)
	u.step("between")
	b.add(100)
	b.end()
	got := errs.String()
	for _, want := range []string{"Uploading [" + strings.Repeat("█", 15), "\x1b[?7lUploading", " 50% 100B of 200B\x1b[?7h", "\r\x1b[K· between\n", "100% 200B of 200B"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the line was left: %q", got)
	}
}

func TestPage_AlignsColumns(t *testing.T) {
	p := &page{}
	p.table("", []string{"name", "x", "last"}, [][]string{{"ä", "long cell", ""}, {"bcdef", "", "z"}})
	p.pairs("a", "1", "long key", "")
	want := "name    x           last\nä       long cell\nbcdef               z\na:          1\nlong key:\n"
	if got := p.buf.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1024: "1K", 1536: "1.5K", 256 << 20: "256M", 1 << 30: "1G", -1: "unlimited"} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d) = %s, want %s", n, got, want)
		}
	}
	for s, want := range map[string]int{"256M": 256, "1g": 1024, "2GB": 2048, "1T": 1 << 20, "5mb": 5} {
		if got, err := parseMB("-m", s); err != nil || got != want {
			t.Errorf("parseMB(%s) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "256", "M", "-1M", "0M", "1.5G", "1K", "9999999999999T", "1BM"} {
		if n, err := parseMB("-m", s); err == nil {
			t.Errorf("parseMB(%s) = %d", s, n)
		}
	}
	for s, want := range map[string]int{"60": 60, "90s": 90, "2m": 120} {
		if got, err := parseSeconds("-t", s); err != nil || got != want {
			t.Errorf("parseSeconds(%s) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-1", "x", "1ms", "48h"} {
		if n, err := parseSeconds("-t", s); err == nil {
			t.Errorf("parseSeconds(%s) = %d", s, n)
		}
	}
	if got := thousands(1234567) + " " + thousands(999) + " " + plural(1, "file") + " " + plural(10023, "file"); got != "1,234,567 999 1 file 10,023 files" {
		t.Errorf("got %s", got)
	}
	if stamp(time.Time{}) != "" {
		t.Error("the zero time is shown")
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]string{"Hello World": "hello-world", "my_app.v2": "my-app-v2", "-x-": "x", "日本": "", strings.Repeat("a", 80): strings.Repeat("a", 63)} {
		if got := appName(s); got != want {
			t.Errorf("appName(%q) = %q", s, got)
		}
	}
	for s, want := range map[string]string{
		"api.example.com": "https://api.example.com", "127.0.0.1:8181": "http://127.0.0.1:8181", "localhost:1/": "http://localhost:1",
		"http://x:1/": "http://x:1", "[::1]:80": "http://[::1]:80", "api.localhost": "http://api.localhost",
	} {
		if got, err := normalizeAPI(s); err != nil || got != want {
			t.Errorf("normalizeAPI(%q) = %q, %v", s, got, err)
		}
	}
	if got := routeURL("http", "8080", "a.b.c/x/y"); got != "http://a.b.c:8080/x/y" {
		t.Error(got)
	}
	if got := routeURL("https", "", "a.b.c"); got != "https://a.b.c/" {
		t.Error(got)
	}
}

func TestChooseRevision(t *testing.T) {
	views := []revisionView{{Version: 2}, {Version: 1}}
	if v, err := chooseRevision("a", views, 1); err != nil || v.Version != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := chooseRevision("a", views, 9); asFailure(err).exit != exitNotFound {
		t.Errorf("%v", err)
	}
}

func TestDescribeEvent(t *testing.T) {
	got := describeEvent(map[string]any{
		"index": float64(1), "reason": "CRASHED", "exit_description": "out of memory (limit 256M)", "process_guid": "x",
		"request": map[string]any{"name": "web", "instances": float64(3)},
	})
	if want := "index: 1, reason: CRASHED, exit_description: out of memory (limit 256M), instances: 3, name: web"; got != want {
		t.Errorf("got %s", got)
	}
}
