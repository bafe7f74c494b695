package acceptance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pushMirrored pushes testdata/mirrored as app with the label v1, and shadows
// of it, each with its environment.
func (s *server) pushMirrored(app string, shadows map[string]string) {
	s.t.Helper()
	s.mustIn("testdata/mirrored", "push", app, "-m", "64M", "--version", "v1", "--env", "ALWAYS=1")
	for label, env := range shadows {
		s.mustIn("testdata/mirrored", "push", app, "-m", "64M", "--version", label, "--shadow", "--env", env)
	}
}

// shadowReport is what `weir shadow --report -o json` says.
type shadowReport struct {
	Report struct {
		Copied, Compared, Probed uint64
		Dropped                  map[string]uint64
		EqualPercent             float64 `json:"equal_percent"`
		Endpoints                []struct {
			Endpoint string
			Compared uint64
			Fields   []struct {
				Field       string
				Differs     uint64
				IsDifferent bool `json:"is_different"`
			}
		}
	}
}

func (s *server) shadowReport(version string) (r shadowReport) {
	s.t.Helper()
	must(s.t, "reading the report", json.Unmarshal([]byte(s.must("shadow", version, "--report", "-o", "json")), &r))
	return r
}

// different returns the fields that are said to differ.
func (r shadowReport) different() (fields []string) {
	for _, e := range r.Report.Endpoints {
		for _, f := range e.Fields {
			if f.IsDifferent {
				fields = append(fields, e.Endpoint+" "+f.Field)
			}
		}
	}
	return fields
}

// compared waits until n requests were compared.
func (s *server) compared(version string, n uint64) (r shadowReport) {
	s.t.Helper()
	s.eventually(time.Minute, fmt.Sprintf("%d requests to be compared", n), func() error {
		if r = s.shadowReport(version); r.Report.Compared < n {
			return fmt.Errorf("%d of %d copies were compared, dropped %v", r.Report.Compared, r.Report.Copied, r.Report.Dropped)
		}
		return nil
	})
	return r
}

// times asks n times over one connection and returns how long each took, in
// order of length.
func (s *server) times(url string, n int) []time.Duration {
	s.t.Helper()
	return s.timesBeside(url, n, nil)
}

// timesBeside is times with something that begins when an answer is there.
func (s *server) timesBeside(url string, n int, beside func()) []time.Duration {
	s.t.Helper()
	c := s.client(true)
	took := make([]time.Duration, n)
	for i := range took {
		begun := time.Now()
		resp, err := c.Get(url)
		must(s.t, "asking", err)
		readAll(s.t.(*testing.T), resp)
		took[i] = time.Since(begun)
		if beside != nil {
			beside()
		}
		time.Sleep(time.Millisecond)
	}
	slices.Sort(took)
	return took
}

// quantile of times in order of length.
func quantile(l []time.Duration, q int) time.Duration { return l[len(l)*q/100] }

// more says by how much the median and the 99th of with lie above those of
// without.
func more(with, without []time.Duration) string {
	slices.Sort(with)
	slices.Sort(without)
	return fmt.Sprintf("%+d µs, %+.0f %%", (quantile(with, 50) - quantile(without, 50)).Microseconds(),
		100*(float64(quantile(with, 99))/float64(quantile(without, 99))-1))
}

// G15: what a good shadow costs the main version's requests: beside nothing,
// and beside a second version that somebody else asks as often, which takes
// the same processors.
func TestRelease_ShadowCostsTheMainVersionNothing(t *testing.T) {
	rounds, n := 4, 150
	if long() {
		rounds, n = 60, 500
	}
	const settle = 100
	s := start(t)
	s.pushMirrored("web", map[string]string{"v2": "ALWAYS=1"})
	var all struct {
		Versions []struct {
			Version   string
			Addresses []string
		}
	}
	must(t, "reading the versions", json.Unmarshal([]byte(s.must("versions", "web", "-o", "json")), &all))
	v2 := ""
	for _, v := range all.Versions {
		if v.Version == "v2" && len(v.Addresses) > 0 {
			v2 = "http://" + v.Addresses[0] + "/fields"
		}
	}
	if resp, err := http.Get(v2); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("v2 does not answer at %q: %v", v2, err)
	}
	direct := &http.Client{Timeout: time.Minute}
	var asking sync.WaitGroup
	beside := func() {
		asking.Go(func() {
			if resp, err := direct.Get(v2); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	const url = "http://web.apps.localhost/fields"
	var without, other, with []time.Duration
	copying := 0       // hundredths of a second
	for range rounds { // by turns, since the machine has other things to do
		s.must("shadow", "web:v2", "--off")
		s.times(url, settle) // what the command left behind
		begun := s.ownTicks()
		without = append(without, s.times(url, n)...)
		copying -= s.ownTicks() - begun
		other = append(other, s.timesBeside(url, n, beside)...)
		asking.Wait()
		s.must("shadow", "web:v2")
		s.times(url, settle)
		begun = s.ownTicks()
		with = append(with, s.times(url, n)...)
		copying += s.ownTicks() - begun
	}
	print := func(than string, without []time.Duration) {
		t.Logf("FIGURE G15  %-58s %-22s bar %-22s %s", fmt.Sprintf("of %d requests, all copied: median, 99th more than %s", len(with), than),
			more(with, without), "≤ 30 µs, ≤ 5 %", "printed only: depends on the machine's load")
	}
	print("without", without)
	print("with as many requests to the version itself", other)
	t.Logf("FIGURE G15  %-58s %-22s bar %-22s %s", "processor time of weir for a copy and its comparison",
		fmt.Sprintf("%d µs", copying*10_000/(rounds*n)), "none given", "printed")
	r := s.compared("web:v2", uint64(rounds*n)*9/10)
	figure(t, "G15", "copies of them that were compared", fmt.Sprintf("%d of %d", r.Report.Compared, r.Report.Copied),
		"≥ 90 %", r.Report.Compared >= uint64(len(with))*9/10)
}

// G15: a shadow that hangs, never ends, is slow or dies with each request does
// the main version no harm.
func TestRelease_ShadowDoesTheMainVersionNoHarm(t *testing.T) {
	lasts, uploads := 5*time.Second, int64(64)
	if long() {
		lasts, uploads = time.Minute, 1024
	}
	s := start(t)
	s.pushMirrored("web", map[string]string{"v2": "HARM=hang", "v3": "HARM=endless", "v4": "HARM=slow", "v5": "HARM=die"})
	for _, v := range []string{"v2", "v3", "v4", "v5"} {
		s.must("shadow", "web:"+v, "--all-methods", "-y")
	}
	router := s.child("router")
	s.times("http://web.apps.localhost/", 10) // what every router needs
	before := memory(t, router, "VmRSS")
	l := s.startLoad("http://web.apps.localhost/", 200)
	for range uploads / 16 {
		body := io.LimitReader(zeros{}, 16<<20)
		resp, err := s.client(true).Post("http://web.apps.localhost/upload", "application/octet-stream", body)
		must(t, "uploading", err)
		if a := readAll(t, resp); a.status != http.StatusOK || !strings.Contains(string(a.body), fmt.Sprint(16<<20)) {
			t.Errorf("an upload was answered %d %s", a.status, a.body)
		}
	}
	time.Sleep(lasts)
	sent, failed, why := l.stop()
	figure(t, "G15", fmt.Sprintf("failed of %d requests beside four harmful shadows", sent), fmt.Sprint(failed), "0", failed == 0)
	if failed > 0 {
		t.Log(why)
	}
	grown := (memory(t, router, "VmHWM") - before) >> 10
	figure(t, "G15", fmt.Sprintf("memory of the router beyond what it had, %d MiB uploaded", uploads),
		fmt.Sprintf("%d MiB", grown), "≤ 35 MiB", grown <= 35)
	for _, v := range []string{"v2", "v3", "v4", "v5"} {
		r := s.shadowReport("web:" + v)
		t.Logf("%s: %d copied, %d compared, dropped %v", v, r.Report.Copied, r.Report.Compared, r.Report.Dropped)
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memory reads a line of /proc/PID/status, in KiB.
func memory(t *testing.T, pid int, name string) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, "reading what the router takes", err)
	_, rest, _ := strings.Cut(string(b), name+":")
	_, err = fmt.Sscan(rest, &kib)
	must(t, "reading what the router takes", err)
	return kib
}

// G16: what differs is found soon, also under noise, and noise is not.
func TestRelease_ShadowFindsWhatDiffers(t *testing.T) {
	// One in ten takes more than 1500 requests now and then.
	share, most := "0.2", uint64(1500)
	if long() {
		share, most = "0.1", 4000
	}
	s := start(t)
	s.pushMirrored("web", map[string]string{"v2": "ALWAYS=2", "v3": "RARELY=" + share})
	s.must("shadow", "web:v2", "--off")
	s.must("shadow", "web:v3", "--off")
	s.must("shadow", "web:v2", "--noise", "100%")
	s.must("shadow", "web:v2", "--reset")
	ask := func(path string, n int) {
		t.Helper()
		s.times("http://web.apps.localhost"+path, n)
	}
	ask("/fields", 16)
	found := s.compared("web:v2", 16).different()
	figure(t, "G16", "found after 16 compared requests: a field that always differs",
		fmt.Sprint(found), "[… $.always]", slices.Equal(found, []string{"GET /fields $.always"}))

	s.must("shadow", "web:v2", "--off")
	s.must("shadow", "web:v3", "--noise", "100%", "--ignore", "$.always")
	at := uint64(0)
	for n := uint64(100); n <= most && at == 0; n += 100 {
		ask("/fields", 100)
		if found = s.compared("web:v3", n*95/100).different(); len(found) > 0 {
			at = n
		}
	}
	figure(t, "G16", "a field that differs in "+share+" of all, under 30 % noise, found after", fmt.Sprint(at, " ", found),
		fmt.Sprint("≤ ", most), at > 0 && slices.Equal(found, []string{"GET /fields $.rarely"}))

	s.must("shadow", "web:v3", "--reset")
	runs, flagged := 1, 0
	if long() {
		runs = 100
	}
	for range runs {
		ask("/noise", 100)
		flagged += len(s.compared("web:v3", 90).different())
		s.must("shadow", "web:v3", "--reset")
	}
	figure(t, "G16", fmt.Sprintf("of 200 noisy fields said to differ, in %d runs", runs), fmt.Sprint(flagged), "0", flagged == 0)

	s.mustIn(filepath.Join(repo(t), "examples/shadow-difference"), "push", "prices", "-m", "64M", "--version", "v1")
	s.mustIn(filepath.Join(repo(t), "examples/shadow-difference"), "push", "prices", "-m", "64M", "--version", "v2", "--shadow", "--env", "ROUNDING=down")
	for i := range 120 {
		if status, _, err := s.get("prices.apps.localhost", fmt.Sprint("/prices/", i%100+1)); err != nil || status != 200 {
			t.Fatalf("the price list answers %d (%v)", status, err)
		}
	}
	found = s.compared("prices", 100).different()
	figure(t, "G16", "found in examples/shadow-difference", fmt.Sprint(found), "[… $.gross]", slices.Equal(found, []string{"GET /prices/{id} $.gross"}))
}
