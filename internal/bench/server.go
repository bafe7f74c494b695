package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is a weir of its own under measurement.
type server struct {
	weir, dir string
	cpu       int      // to run on; -1: any
	flags     []string // of weir serve, besides those every one gets
	api, http string
	https     string // empty: it serves no TLS
	cmd       *exec.Cmd
}

// serve starts a weir that may use the whole machine, and logs in.
func serve(ctx context.Context, weir string) (*server, error) {
	s, err := serveOn(ctx, weir, -1)
	if err != nil {
		return nil, err
	}
	return s, s.run(ctx, ".", "login")
}

// serveOn starts a weir on one processor, or on any if cpu is negative.
func serveOn(ctx context.Context, weir string, cpu int, flags ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	s := &server{weir: weir, dir: dir, cpu: cpu, flags: flags}
	if err := s.begin(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) env() []string {
	return append(os.Environ(), "WEIR_HOME="+filepath.Join(s.dir, "home"), "WEIR_DATA="+filepath.Join(s.dir, "data"))
}

// begin starts weir serve and returns when its API answers.
func (s *server) begin(ctx context.Context) error {
	file := filepath.Join(s.dir, "data", "server.json")
	os.Remove(file)
	log, err := os.OpenFile(filepath.Join(s.dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"serve", "--data", filepath.Join(s.dir, "data"), "--api", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	s.cmd = exec.Command(s.weir, append(args, s.flags...)...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env(), log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := startOn(s.cpu, s.cmd); err != nil {
		return err
	}
	return s.wait(ctx, 30*time.Second, func() error {
		b, err := os.ReadFile(file)
		if err != nil {
			return errNoServer
		}
		var where struct{ API, HTTP, HTTPS string }
		if err := json.Unmarshal(b, &where); err != nil {
			return err
		}
		s.api, s.http, s.https = where.API, where.HTTP, where.HTTPS
		resp, err := http.Get(s.api + "/v3")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// end stops weir serve.
func (s *server) end() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
	s.cmd = nil
}

func (s *server) stop() {
	s.end()
	os.RemoveAll(s.dir)
}

func (s *server) wait(ctx context.Context, within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("waited %s: %w", within, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *server) run(ctx context.Context, dir string, args ...string) error {
	_, err := s.output(ctx, dir, args...)
	return err
}

func (s *server) output(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.weir, args...)
	cmd.Dir, cmd.Env = dir, s.env()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("weir %s: %w\n%s", args[0], err, stderr.String())
	}
	return out, nil
}

// answers returns nil once GET / of an app is 200.
func (s *server) answers(ctx context.Context, host string) error {
	return s.wait(ctx, 10*time.Second, func() error {
		req, err := http.NewRequest("GET", "http://"+s.http+"/", nil)
		if err != nil {
			return err
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 {
			return fmt.Errorf("%s answers %s", host, resp.Status)
		}
		return nil
	})
}

func (s *server) list(ctx context.Context, path string) (total int, first string, err error) {
	out, err := s.output(ctx, ".", "curl", path)
	if err != nil {
		return 0, "", err
	}
	var l struct {
		Pagination struct {
			Total int `json:"total_results"`
		}
		Resources []struct{ GUID string }
	}
	if err := json.Unmarshal(out, &l); err != nil {
		return 0, "", err
	}
	if len(l.Resources) > 0 {
		first = l.Resources[0].GUID
	}
	return l.Pagination.Total, first, nil
}

func (s *server) spaceGUID(ctx context.Context) (string, error) {
	_, guid, err := s.list(ctx, "/v3/spaces")
	if err == nil && guid == "" {
		err = errors.New("there is no space")
	}
	return guid, err
}

func (s *server) countApps(ctx context.Context, want int) error {
	n, _, err := s.list(ctx, "/v3/apps?per_page=1")
	if err == nil && n != want {
		err = fmt.Errorf("there are %d apps, want %d", n, want)
	}
	return err
}
