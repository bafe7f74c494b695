package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// v3List is the part of a v3 list that these tests read.
type v3List struct {
	Resources []struct {
		GUID  string
		Name  string
		Type  string
		State string
		Index int
	}
}

// v3 reads a path of the API through the command line.
func (s *server) v3(path string) v3List {
	s.t.Helper()
	var l v3List
	if err := json.Unmarshal([]byte(s.must("curl", path)), &l); err != nil {
		s.t.Fatalf("decoding %s: %v", path, err)
	}
	return l
}

// tryV3 is v3 for a moment when the API may be away.
func (s *server) tryV3(path string) (v3List, error) {
	var l v3List
	r := s.weir("", "curl", path)
	if r.code != 0 {
		return l, fmt.Errorf("weir curl %s: exit %d: %s", path, r.code, r.stderr)
	}
	return l, json.Unmarshal([]byte(r.stdout), &l)
}

func (s *server) guid(app string) string {
	s.t.Helper()
	l := s.v3("/v3/apps?names=" + app)
	if len(l.Resources) != 1 {
		s.t.Fatalf("%d apps are named %s", len(l.Resources), app)
	}
	return l.Resources[0].GUID
}

// running returns nil if want web instances of the app run, and no other.
func (s *server) running(app string, want int) error {
	apps, err := s.tryV3("/v3/apps?names=" + app)
	if err != nil {
		return err
	}
	if len(apps.Resources) != 1 {
		return fmt.Errorf("%d apps are named %s", len(apps.Resources), app)
	}
	stats, err := s.tryV3("/v3/apps/" + apps.Resources[0].GUID + "/processes/web/stats")
	if err != nil {
		return err
	}
	n := 0
	for _, i := range stats.Resources {
		if i.State == "RUNNING" {
			n++
		}
	}
	if n != want || len(stats.Resources) != want {
		return fmt.Errorf("%s: %d of %d instances run, want %d", app, n, len(stats.Resources), want)
	}
	return nil
}

// inits returns the pids of the running instances' inits, by instance GUID.
func (s *server) inits() map[string]int {
	s.t.Helper()
	found := map[string]int{}
	instances, _ := os.ReadDir(filepath.Join(s.data(), "instances"))
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		for _, i := range instances {
			if strings.Contains(string(cmdline), i.Name()) {
				found[i.Name()] = pid
			}
		}
	}
	return found
}

// crash kills one instance of an app from within, with exit status 3.
func (s *server) crash(app string) {
	s.t.Helper()
	s.must("map-route", app, "apps.localhost", "-n", "crash-"+app)
	defer s.must("unmap-route", app, "apps.localhost", "-n", "crash-"+app)
	resp, err := s.client(false).Post("http://crash-"+app+".apps.localhost/exit/3", "text/plain", nil)
	if err == nil {
		resp.Body.Close()
	}
}

// json reads a path of the API into v.
func (s *server) json(path string, v any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must("curl", path)), v); err != nil {
		s.t.Fatalf("decoding %s: %v", path, err)
	}
}
