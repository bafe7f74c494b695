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
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	asReverseProxy()
	asSlowInstance()
	weir := flag.String("weir", "bin/weir", "the `binary` to measure")
	apps := flag.Int("apps", 100, "how many apps run for the memory figure")
	only := flag.String("only", "", "comma-separated `parts`: "+partNames()+"; without it, all up to start")
	m := matrix{}
	flag.IntVar(&m.rounds, "rounds", 3, "proxies: how often each is measured")
	flag.IntVar(&m.turns, "turns", 3, "proxies: how often each load is run in a round")
	flag.DurationVar(&m.each, "each", 450*time.Millisecond, "proxies, stand: how long each load lasts")
	loads := flag.String("loads", "", "proxies: comma-separated `loads`: h1-64, h1-256, h1-tls, h2-tls, new-conn, large, rate, idle; slow: heads, bodies, ranges, readers, readers-tls")
	beside := flag.String("beside", "", "proxies: another `binary` of weir, measured along: what a change brings")
	peers := flag.String("peers", "", "proxies: comma-separated `names`: weir, nginx, haproxy, caddy, reverseproxy")
	flag.Parse()
	exe, err := filepath.Abs(*weir)
	if err != nil {
		fatal(err)
	}
	m.weir, m.beside, m.only, m.peers = exe, *beside, list(*loads), list(*peers)
	b := bench{weir: exe, apps: *apps, matrix: &m}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed := false
	for _, p := range parts {
		if *only == "" && !p.usual || *only != "" && !slices.Contains(list(*only), p.name) {
			continue
		}
		if err := p.run(b, ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", p.name, err)
			failed = true
		}
	}
	interrupted := ctx.Err() != nil
	cancel()
	if failed || interrupted {
		os.Exit(1)
	}
}

// parts are what can be measured. The usual ones are those of a server as a
// whole; the others are about its router.
var parts = []struct {
	name  string
	usual bool
	run   func(bench, context.Context) error
}{
	{"push", true, bench.push},
	{"stager", true, bench.stager},
	{"router", true, bench.router},
	{"memory", true, bench.memory},
	{"start", true, bench.start},
	{"proxies", false, bench.proxies},
	{"routes", false, bench.routes},
	{"slow", false, bench.slow},
	{"stand", false, bench.stand},
	{"profile", false, bench.profile},
}

func partNames() string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

type bench struct {
	weir   string
	apps   int
	matrix *matrix
}

// row prints one figure and what it is held to.
func row(what, figure, bar string) {
	fmt.Printf("%-58s %-22s %s\n", what, figure, bar)
}

// push measures from typing weir push to the first answer of the app.
func (b bench) push(ctx context.Context) error {
	fmt.Println("push to first answer (the command's whole run and one request)")
	s, err := serve(ctx, b.weir)
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
			if err := s.run(ctx, filepath.Join("examples", c.example), "push", c.example); err != nil {
				row("  "+c.example, "not measured", firstLine(err))
				break
			}
			if err := s.answers(ctx, c.example+".apps.localhost"); err != nil {
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
func (b bench) stager(ctx context.Context) error {
	fmt.Println("the stager's own time beyond the buildpack's")
	figures, err := figuresOf(ctx, "./stager", goBench{"^BenchmarkStage$/^files=100$", "5x"}, goBench{"^BenchmarkStage$/^files=24000$", "1x"})
	if err != nil {
		return err
	}
	for _, c := range []struct{ files, bar string }{{"100", "≤ 150 ms"}, {"24000", "≤ 2 s"}} {
		for _, pack := range []string{"built-in", "external"} {
			what := fmt.Sprintf("  %s files, %s buildpack that does nothing", c.files, pack)
			ms, ok := figures["BenchmarkStage/files="+c.files+"/"+pack+" own-ms"]
			if !ok {
				row(what, "not measured", c.bar)
				continue
			}
			row(what, round(time.Duration(ms)*time.Millisecond), c.bar)
		}
	}
	return nil
}

func (b bench) router(ctx context.Context) error {
	fmt.Println("CPU of the router for a small request on a kept connection (make bench-router measures it beside others)")
	figures, err := figuresOf(ctx, "./router", goBench{"^BenchmarkCPUPerRequest$", "1x"})
	if err != nil {
		return err
	}
	figure := func(unit string) float64 { return figures["BenchmarkCPUPerRequest "+unit] }
	row("  weir's router, everything on", fmt.Sprintf("%.1f µs", figure("µs-router/req")), "")
	row("  httputil.ReverseProxy, in the same run", fmt.Sprintf("%.1f µs", figure("µs-reverseproxy/req")), "")
	row("  ratio", fmt.Sprintf("%.2f", figure("ratio")), "< 1")
	return nil
}

// memory measures what keeper, router, controller and the inits take.
func (b bench) memory(ctx context.Context) error {
	fmt.Println("memory (proportional set size)")
	s, err := serve(ctx, b.weir)
	if err != nil {
		return err
	}
	defer s.stop()
	waitUntil(ctx, time.Now().Add(2*time.Second)) // until the start's garbage is gone
	idle, parts, err := s.pss()
	if err != nil {
		return err
	}
	row("  keeper + router + controller, no app: "+parts, megabytes(idle), "≤ 100 MB")
	if err := s.run(ctx, "examples/hello-static", "push", "app-0", "-m", "32M"); err != nil {
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
	if err := s.run(ctx, dir, "push", "-f", manifest); err != nil {
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
func (b bench) start(ctx context.Context) error {
	fmt.Println("start to ready with 1,000 apps in the store")
	s, err := serve(ctx, b.weir)
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
	space, err := s.spaceGUID(ctx)
	if err != nil {
		return err
	}
	if err := s.run(ctx, ".", "curl", "/v3/spaces/"+space+"/actions/apply_manifest", "-X", "POST",
		"-H", "Content-Type: application/x-yaml", "-d", "@"+manifest); err != nil {
		return err
	}
	if err := s.wait(ctx, 2*time.Minute, func() error { return s.countApps(ctx, 1000) }); err != nil {
		return err
	}
	var times []time.Duration
	for range 5 {
		s.end()
		began := time.Now()
		if err := s.begin(ctx); err != nil {
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
