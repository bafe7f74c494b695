package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// figure prints what was measured beside the bar it is held to; the test fails
// if it does not hold. `make e2e-release` shows these lines.
func figure(t testing.TB, goal, what, measured, bar string, holds bool) {
	t.Helper()
	verdict := "holds"
	if !holds {
		verdict = "MISSED"
		t.Errorf("%s: %s is %s, the bar is %s", goal, what, measured, bar)
	}
	t.Logf("FIGURE %-4s %-58s %-22s bar %-22s %s", goal, what, measured, bar, verdict)
}

// pushVersions pushes testdata/flaky as app, its first version with the label
// v1 and the others beside it without traffic, each answering with its label.
func (s *server) pushVersions(app string, settings map[string][]string, labels ...string) {
	s.t.Helper()
	for i, label := range labels {
		args := []string{"push", app, "-m", "64M", "--version", label, "--env", "LABEL=" + label}
		if i > 0 {
			args = append(args, "--no-traffic")
		}
		for _, e := range settings[label] {
			args = append(args, "--env", e)
		}
		s.mustIn("testdata/flaky", args...)
	}
}

// ask sends n requests one after the other over one connection and returns
// what answered each.
func (s *server) ask(host, path string, n int) []string {
	s.t.Helper()
	c := s.client(true)
	answers := make([]string, n)
	for i := range answers {
		resp, err := c.Get("http://" + host + path)
		if err != nil {
			s.t.Fatalf("request %d: %v", i, err)
		}
		a := readAll(s.t.(*testing.T), resp)
		if a.status != 200 {
			s.t.Fatalf("request %d: %d %s", i, a.status, a.body)
		}
		answers[i] = strings.TrimSpace(string(a.body))
	}
	return answers
}

func count(answers []string, label string) (n int) {
	for _, a := range answers {
		if a == label {
			n++
		}
	}
	return n
}

// worstWindow returns how far any stretch of size answers is from having want
// of label.
func worstWindow(answers []string, label string, size, want int) (worst int) {
	for i := 0; i+size <= len(answers); i++ {
		off := count(answers[i:i+size], label) - want
		worst = max(worst, off, -off)
	}
	return worst
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
