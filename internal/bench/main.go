// Command bench prints the figures weir is judged by, each with its bar, from
// real pushes of the examples against a real server on loopback.
//
//	go run ./internal/bench -weir bin/weir
//
// What depends on the machine is given beside a peer measured in the same run
// (the router beside httputil.ReverseProxy) or beside the time of the child
// process it is meant to exclude (the stager).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	weir := flag.String("weir", "bin/weir", "the `binary` to measure")
	apps := flag.Int("apps", 100, "how many apps run for the memory figure")
	only := flag.String("only", "", "comma-separated `parts`: push, stager, router, memory, start")
	proxies := flag.Bool("proxies", false, "measure the router beside other proxies, and nothing else")
	m := matrix{}
	flag.IntVar(&m.rounds, "rounds", 3, "how often each proxy is measured")
	flag.DurationVar(&m.each, "each", 1300*time.Millisecond, "how long each load lasts")
	loads := flag.String("loads", "", "comma-separated `loads` for -proxies: h1-64, h1-256, h1-tls, h2-tls, new-conn, large, rate, idle")
	peers := flag.String("peers", "", "comma-separated `proxies` for -proxies: weir, nginx, haproxy, caddy, reverseproxy")
	asReverseProxy()
	flag.Parse()
	exe, err := filepath.Abs(*weir)
	if err != nil {
		fatal(err)
	}
	if *proxies {
		ctx, cancel := onInterrupt()
		m.weir, m.only, m.peers = exe, list(*loads), list(*peers)
		err := m.run(ctx)
		if err == nil && len(m.only) == 0 {
			err = goBenchmarks(ctx)
		}
		cancel()
		if err != nil {
			fatal(err)
		}
		return
	}
	b := bench{weir: exe, apps: *apps}
	parts := []struct {
		name string
		run  func() error
	}{
		{"push", b.push},
		{"stager", b.stager},
		{"router", b.router},
		{"memory", b.memory},
		{"start", b.start},
	}
	for _, p := range parts {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), p.name) {
			continue
		}
		if err := p.run(); err != nil {
			fatal(fmt.Errorf("%s: %w", p.name, err))
		}
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

type bench struct {
	weir string
	apps int
}

// row prints one figure and what it is held to.
func row(what, figure, bar string) {
	fmt.Printf("%-58s %-22s %s\n", what, figure, bar)
}

// push measures from typing weir push to the first answer of the app.
func (b bench) push() error {
	fmt.Println("push to first answer (the command's whole run and one request)")
	s, err := serve(b.weir)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, c := range []struct{ example, bar string }{
		{"hello-static", "≤ 1 s"},
		{"hello-go", "≤ 3 s with a warm cache"},
		{"hello-python", "≤ 2 s"},
		{"hello-node", ""},
		{"hello-procfile", ""},
		{"hello-binary", ""},
	} {
		var times []time.Duration
		for i := range 4 { // the first one fills caches
			began := time.Now()
			if err := s.run(filepath.Join("examples", c.example), "push", c.example); err != nil {
				row("  "+c.example, "not measured", firstLine(err))
				break
			}
			if err := s.answers(c.example + ".apps.localhost"); err != nil {
				return err
			}
			d := time.Since(began)
			if i == 0 {
				row("  "+c.example+", first push ever", round(d), "")
				continue
			}
			times = append(times, d)
		}
		if len(times) > 0 {
			slices.Sort(times)
			row("  "+c.example+", median of 3 later pushes", round(times[len(times)/2]), c.bar)
		}
	}
	return nil
}

// stager and router are Go benchmarks of their packages.
func (b bench) stager() error {
	fmt.Println("the stager's own time beyond the buildpack's")
	return gobench("./stager", "Overhead")
}

func (b bench) router() error {
	fmt.Println("CPU per request of the router, beside httputil.ReverseProxy in the same run")
	return gobench("./router/...", "Request|Proxy|Peer")
}

func gobench(pkg, pattern string) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "3s", pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasPrefix(line, "Benchmark") || strings.HasPrefix(line, "    ") {
			fmt.Println("  " + line)
		}
	}
	return err
}

// memory measures what keeper, router, controller and the inits take.
func (b bench) memory() error {
	fmt.Println("memory (proportional set size)")
	s, err := serve(b.weir)
	if err != nil {
		return err
	}
	defer s.stop()
	time.Sleep(2 * time.Second)
	idle, parts, err := s.pss()
	if err != nil {
		return err
	}
	row("  keeper + router + controller, no app: "+parts, megabytes(idle), "≤ 100 MB")
	if err := s.run("examples/hello-static", "push", "app-0", "-m", "32M"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "apps-")
	if err != nil {
		return err
	}
	var m strings.Builder
	m.WriteString("applications:\n")
	for i := 1; i < b.apps; i++ {
		fmt.Fprintf(&m, "- name: app-%d\n  memory: 32M\n  path: %s\n", i, mustAbs("examples/hello-static"))
	}
	manifest := filepath.Join(dir, "manifest.yml")
	if err := os.WriteFile(manifest, []byte(m.String()), 0o644); err != nil {
		return err
	}
	began := time.Now()
	if err := s.run(dir, "push", "-f", manifest); err != nil {
		return err
	}
	row(fmt.Sprintf("  pushing %d more static apps", b.apps-1), round(time.Since(began)), "")
	with, parts, err := s.pss()
	if err != nil {
		return err
	}
	row(fmt.Sprintf("  keeper + router + controller, %d apps: %s", b.apps, parts), megabytes(with), "")
	inits, n, err := s.initPSS()
	if err != nil {
		return err
	}
	if n > 0 {
		row(fmt.Sprintf("  per instance, its init (%d of them)", n), megabytes(inits/int64(n)), "≤ 1 MB")
	}
	return nil
}

// start measures from starting weir serve to the first answer of the API with
// a thousand apps in the store.
func (b bench) start() error {
	fmt.Println("start to ready with 1,000 apps in the store")
	s, err := serve(b.weir)
	if err != nil {
		return err
	}
	defer s.stop()
	var m strings.Builder
	m.WriteString("applications:\n")
	for i := range 1000 {
		fmt.Fprintf(&m, "- name: app-%d\n  no-route: true\n", i)
	}
	manifest := filepath.Join(s.dir, "thousand.yml")
	if err := os.WriteFile(manifest, []byte(m.String()), 0o644); err != nil {
		return err
	}
	space, err := s.spaceGUID()
	if err != nil {
		return err
	}
	if err := s.run(".", "curl", "/v3/spaces/"+space+"/actions/apply_manifest", "-X", "POST",
		"-H", "Content-Type: application/x-yaml", "-d", "@"+manifest); err != nil {
		return err
	}
	if err := s.wait(2*time.Minute, func() error { return s.countApps(1000) }); err != nil {
		return err
	}
	var times []time.Duration
	for range 5 {
		s.end()
		began := time.Now()
		if err := s.begin(); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	row("  median of 5", round(times[2]), "≤ 1 s")
	return nil
}

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

func megabytes(b int64) string { return fmt.Sprintf("%.1f MB", float64(b)/1e6) }

func mustAbs(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		fatal(err)
	}
	return abs
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}

var errNoServer = errors.New("the server is not ready")
