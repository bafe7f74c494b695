package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"weir/internal/bench/load"
	"weir/router"
)

// slowMode is one way in which slowhttptest keeps a server busy.
type slowMode struct {
	name string
	args []string
}

const (
	slowConns = 1000
	slowFor   = 20 * time.Second
	slowRate  = 500 // healthy requests/s beside it
	// slowGone is when all slow connections must have been ended: 11 s each,
	// and a second in which they are opened.
	slowGone = 12
)

// slowModes open slowConns connections within a second and then send, or read,
// as little as they may.
var slowModes = []slowMode{
	{"heads", []string{"-H", "-i", "3", "-x", "24"}},
	{"bodies", []string{"-B", "-i", "3", "-x", "10", "-s", "8192", "-t", "POST"}},
	{"ranges", []string{"-R", "-a", "5", "-b", "3000"}},
	{"readers", []string{"-X", "-w", "512", "-y", "1024", "-n", "3", "-z", "32", "-k", "1"}},
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
	w, err := startServer(ctx, &ground{weir: b.weir, cpu: -1})
	if err != nil {
		return err
	}
	defer w.stop()
	// slowhttptest asks for the host that it connects to.
	t := manyHosts(benchHosts, l.Instance())
	t.Routes = append(t.Routes, router.Route{Host: "127.0.0.1", GUID: "slow", Destinations: []router.Destination{destination("slow", 100, l.Instance())}})
	if err := w.put(ctx, t); err != nil {
		return err
	}
	plan := load.Plan{Addr: w.http, Conns: 32, Rate: slowRate, WarmUp: time.Second, For: slowFor / 2}
	alone, err := l.Run(plan)
	if err != nil {
		return err
	}
	row("  healthy requests alone, p50 and p99", twoPercentiles(alone), "")
	for _, mode := range slowModes {
		if len(b.matrix.only) > 0 && !slices.Contains(b.matrix.only, mode.name) {
			continue
		}
		if err := mode.run(ctx, program, l, w, alone); err != nil {
			return fmt.Errorf("%s: %w", mode.name, err)
		}
	}
	return nil
}

// run attacks in one mode and prints what came of it.
func (m slowMode) run(ctx context.Context, program string, l *load.Loop, w *routed, alone load.Result) error {
	report := filepath.Join(w.dir, "slow")
	target := "/path/to/something?q=00000000"
	if m.args[0] == "-X" {
		target = "/large/file/to/get?q=00000000"
	}
	args := append([]string{
		"-c", strconv.Itoa(slowConns), "-r", strconv.Itoa(slowConns), "-l", strconv.Itoa(int(slowFor.Seconds())),
		"-p", "5", "-g", "-o", report, "-u", "http://" + w.http + target,
	}, m.args...)
	ctx, cancel := context.WithTimeout(ctx, slowFor+10*time.Second)
	defer cancel()
	attack := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	attack.Stdout = &out
	if err := attack.Start(); err != nil {
		return err
	}
	healthy, err := l.Run(load.Plan{Addr: w.http, Conns: 32, Rate: slowRate, Others: true, WarmUp: time.Second, For: slowFor})
	waitErr := attack.Wait()
	if err != nil {
		return err
	}
	if healthy.Wrong > 0 {
		return fmt.Errorf("%d healthy requests failed: %s", healthy.Wrong, healthy.Why)
	}
	most, err := mostConnected(report + ".csv")
	if err != nil {
		return errors.Join(err, waitErr)
	}
	gone := fmt.Sprintf("not all ended in %s", slowFor)
	if n := lasted(out.Bytes()); n >= 0 {
		gone = fmt.Sprintf("the last after %d s", n)
	}
	row(fmt.Sprintf("  slow %s: up to %d connections", m.name, most), gone, fmt.Sprintf("≤ %d s", slowGone))
	ratio := float64(healthy.Percentile(99)) / float64(alone.Percentile(99))
	row("    healthy p50 and p99 beside it", twoPercentiles(healthy), fmt.Sprintf("p99 ≤ 1.5 × (%.2f ×)", ratio))
	return nil
}

func twoPercentiles(r load.Result) string {
	return fmt.Sprintf("%s, %s", r.Percentile(50).Round(time.Microsecond), r.Percentile(99).Round(time.Microsecond))
}

// mostConnected returns the most connections that slowhttptest had open.
func mostConnected(file string) (most int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return 0, fmt.Errorf("reading slowhttptest's report: %w", err)
	}
	for _, r := range rows[min(1, len(rows)):] { // Seconds,Closed,Pending,Connected,Service Available
		open, err := strconv.Atoi(r[3])
		if err != nil {
			return 0, fmt.Errorf("reading slowhttptest's report: %w", err)
		}
		most = max(most, open)
	}
	return most, nil
}

var (
	slowEnded = regexp.MustCompile(`Test ended on (\d+)`)
	slowNone  = []byte("No open connections left")
)

// lasted returns after how many seconds the last slow connection was ended, or
// -1 if slowhttptest gave up first.
func lasted(out []byte) int {
	m := slowEnded.FindSubmatch(out)
	if m == nil || !bytes.Contains(out, slowNone) {
		return -1
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
