package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/bench/load"
	"weir/router"
)

// slowMode is one way in which slowhttptest keeps a server busy.
type slowMode struct {
	name   string
	args   []string
	secure bool // over TLS
}

const (
	slowConns = 1000
	slowFor   = 20 * time.Second
	slowRate  = 500 // healthy requests/s beside it
	slowPeers = 32  // connections that they come on
	// slowGone is when all slow connections must have been ended, after the
	// last of them was opened.
	slowGone = 11 * time.Second
)

var slowReaders = []string{"-X", "-w", "512", "-y", "1024", "-n", "3", "-z", "32", "-k", "1"}

// slowModes open slowConns connections within a second and then send, or read,
// as little as they may.
var slowModes = []slowMode{
	{"heads", []string{"-H", "-i", "3", "-x", "24"}, false},
	{"bodies", []string{"-B", "-i", "3", "-x", "10", "-s", "8192", "-t", "POST"}, false},
	{"ranges", []string{"-R", "-a", "5", "-b", "3000"}, false},
	{"readers", slowReaders, false},
	{"readers-tls", slowReaders, true},
}

// slow runs slowhttptest against the router beside healthy requests.
func (b bench) slow(ctx context.Context) error {
	fmt.Printf("slowhttptest, %d connections, beside %d healthy requests/s\n", slowConns, slowRate)
	program, err := lookProgram("slowhttptest")
	if err != nil {
		row("  slowhttptest", "not installed", "")
		return nil
	}
	l, err := load.New(-1)
	if err != nil {
		return err
	}
	defer l.Close()
	g, err := newGround(b.weir, l.Instance(), -1)
	if err != nil {
		return err
	}
	defer g.clear()
	w, err := startServer(ctx, g)
	if err != nil {
		return err
	}
	defer w.stop()
	addr, end, err := startSlowInstance(ctx)
	if err != nil {
		return err
	}
	defer end()
	// slowhttptest asks for the host that it connects to.
	t := manyHosts(benchHosts, l.Instance())
	t.Routes = append(t.Routes, router.Route{Host: "127.0.0.1", GUID: "slow", Destinations: []router.Destination{destination("slow", 100, addr)}})
	if err := w.put(ctx, t); err != nil {
		return err
	}
	ours := []int{os.Getpid(), w.router}
	if !precede(ours, true) {
		row("  the attack takes its share of the processors", "only root can help", "")
	}
	defer precede(ours[:1], false)
	for _, mode := range slowModes {
		if len(b.matrix.only) > 0 && !slices.Contains(b.matrix.only, mode.name) {
			continue
		}
		if err := mode.run(ctx, program, l, w); err != nil {
			return fmt.Errorf("%s: %w", mode.name, err)
		}
	}
	return nil
}

// slowInstanceCommand is what this program is started with to be the instance
// of the slow clients. It writes a thousand MiB in a moment: in the process of
// those who measure, and before others in turn for the processors, it would be
// measured itself.
const slowInstanceCommand = "slowinstance"

// asSlowInstance runs that instance if this process was started to be it: it
// prints its address and ends when it is killed.
func asSlowInstance() {
	if len(os.Args) < 2 || os.Args[1] != slowInstanceCommand {
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fatal(err)
	}
	fmt.Println(ln.Addr())
	large := make([]byte, load.LargeBytes)
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer := large
		if !strings.HasPrefix(r.URL.Path, "/large") {
			answer = large[:64]
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	})
	fatal(s.Serve(ln))
}

// startSlowInstance starts that process and returns where it listens.
func startSlowInstance(ctx context.Context) (addr string, stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, exe, slowInstanceCommand)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		stop()
		return "", nil, fmt.Errorf("starting an instance: %w", err)
	}
	return addr, stop, nil
}

// run attacks in one mode and prints what came of it. All others come before
// the attack in turn for the processors, of which slowhttptest takes a whole
// one: in earnest it is on another machine.
func (m slowMode) run(ctx context.Context, program string, l *load.Loop, w *routed) error {
	plan := load.Plan{Addr: w.http, Conns: slowPeers, Rate: slowRate, WarmUp: time.Second, For: slowFor / 4}
	alone, err := l.Run(plan)
	if err != nil {
		return err
	}
	target := "http://" + w.http
	if m.secure {
		target = "https://" + w.https
	}
	target += "/path/to/something?q=00000000"
	if m.args[0] == "-X" {
		target = strings.Replace(target, "/path/to/something", "/large/file/to/get", 1)
	}
	args := append([]string{
		"-c", strconv.Itoa(slowConns), "-r", strconv.Itoa(slowConns), "-l", strconv.Itoa(int(slowFor.Seconds())),
		"-p", "5", "-u", target,
	}, m.args...)
	ctx, cancel := context.WithTimeout(ctx, slowFor+10*time.Second)
	defer cancel()
	attack := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	attack.Stdout = &out
	heard := listenNoise(nil)
	if err := attack.Start(); err != nil {
		return err
	}
	yield(attack.Process.Pid)
	seen := watchClients(w.http, w.https)
	plan.For = slowFor
	healthy, err := l.Run(plan)
	seen.stop()
	others := heard.others([]int{w.router, attack.Process.Pid})
	waitErr := attack.Wait()
	if err != nil {
		return err
	}
	if healthy.Wrong > 0 {
		return fmt.Errorf("%d healthy requests failed: %s", healthy.Wrong, healthy.Why)
	}
	if !slowEnded.Match(out.Bytes()) {
		return errors.Join(fmt.Errorf("slowhttptest did not get to its end:\n%s", out.Bytes()), waitErr)
	}
	gone := fmt.Sprintf("gone after %.1f s", (seen.last - seen.full).Seconds())
	switch {
	case seen.last >= slowFor:
		gone = fmt.Sprintf("not all gone in %s", slowFor)
	case seen.most <= probes:
		gone = "gone at once"
	}
	row(fmt.Sprintf("  slow %s: %d connections within %.1f s", m.name, seen.most, seen.full.Seconds()), gone, fmt.Sprintf("≤ %.0f s", slowGone.Seconds()))
	row("    as slowhttptest sees it, which reads on what it has", attackerSaw(out.Bytes()), "")
	row("    all connections in the kernel's memory, at most", megabytes(seen.memory), "")
	row("    healthy p50 and p99 before it", twoPercentiles(alone), "")
	ratio := float64(healthy.Percentile(99)) / float64(alone.Percentile(99))
	row("    healthy p50 and p99 beside it", twoPercentiles(healthy), fmt.Sprintf("p99 ≤ 1.5 × (%.2f ×)", ratio))
	if others > noisy {
		row("    processors that others used meanwhile", fmt.Sprintf("%.2f!", others), "")
	}
	return nil
}

func twoPercentiles(r load.Result) string {
	return fmt.Sprintf("%s, %s", r.Percentile(50).Round(time.Microsecond), r.Percentile(99).Round(time.Microsecond))
}

var (
	slowEnded = regexp.MustCompile(`Test ended on (\d+)`)
	slowNone  = []byte("No open connections left")
)

// attackerSaw tells when slowhttptest found its last connection ended.
func attackerSaw(out []byte) string {
	m := slowEnded.FindSubmatch(out)
	if m == nil || !bytes.Contains(out, slowNone) {
		return fmt.Sprintf("not all ended in %s", slowFor)
	}
	return fmt.Sprintf("the last after %s s", m[1])
}
