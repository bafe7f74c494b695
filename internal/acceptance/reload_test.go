package acceptance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReload_FailsNoRequestAndKeepsTheAccessLog replaces controller and router
// as an operator does, while requests come in.
func TestReload_FailsNoRequestAndKeepsTheAccessLog(t *testing.T) {
	s := prepare(t)
	file := filepath.Join(s.dir, "access.log")
	t.Setenv("WEIR_ACCESS_LOG", file)
	t.Setenv("WEIR_REDACT_QUERIES", "true")
	s.serve(freeAddr(t), freeAddr(t))
	s.must("login")
	s.mustIn(filepath.Join(repo(t), "examples/hello-go"), "push", "web", "-m", "64M")
	inits := s.appInits("web")
	l := s.startLoad("http://web.apps.localhost/?token=secret", 100)
	for range 2 {
		router, controller := s.child("router"), s.child("controller")
		s.must("reload")
		if got := s.must("reload", "--help"); !strings.Contains(got, "--data") {
			t.Error(got)
		}
		s.must("apps")
		s.eventually(time.Minute, "the old ones to end", func() error {
			return s.areGone(router, controller)
		})
	}
	sent, failed, why := l.stop()
	if failed > 0 || sent == 0 {
		t.Errorf("%d of %d requests failed:\n%s", failed, sent, why)
	}
	for guid, pid := range s.appInits("web") {
		if inits[guid] != pid {
			t.Error("the app was restarted")
		}
	}
	s.eventually(time.Minute, "every request to be in the access log", func() error {
		return s.logged(file, int(sent))
	})
	if r := s.weir("", "reload", "--data", filepath.Join(s.dir, "elsewhere")); r.code == 0 || !strings.Contains(r.stderr, "no weir runs on the data directory") {
		t.Errorf("elsewhere: exit %d, %s", r.code, r.stderr)
	}
}

// areGone returns nil once none of the processes is there.
func (s *server) areGone(pids ...int) error {
	for _, p := range processes(s.t, s.data()) {
		for _, pid := range pids {
			if p.pid == pid {
				return errors.New("still there")
			}
		}
	}
	return nil
}

// logged returns nil once n lines are in the file. None tells a query.
func (s *server) logged(file string, n int) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if strings.Contains(string(b), "secret") {
		s.t.Fatal("a query is in the access log")
	}
	if got := strings.Count(string(b), "\"GET /"); got < n {
		return fmt.Errorf("%d lines for %d requests", got, n)
	}
	return nil
}
