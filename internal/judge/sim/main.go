// Command sim plays rollouts through, with fixed seeds, and prints how often
// the judge rejects a candidate that is as good as the stable version, and how
// soon one that is worse; beside it what a threshold, a z-test, Fisher's exact
// test and a Mann–Whitney test do when somebody looks all the time. A figure
// that misses its bar is marked, and the command then ends with status 1.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

func main() {
	runs := flag.Int("runs", 600, "rollouts of each kind")
	flag.Parse()
	begun := time.Now()
	r := &report{runs: *runs}
	r.errors(0.05, map[string][2]float64{"1→5 %": {170, 350}, "1→20 %": {20, 45}, "0.1→1 %": {490, 1100}, "1→2 %": {1700, 3600}, "all fail": {5, 5}})
	r.errors(0.25, nil)
	r.wholeRollouts()
	r.sticky()
	r.latency(0.05)
	r.latency(0.25)
	r.together()
	fmt.Printf("\n%d rollouts of each kind, %s\n", *runs, time.Since(begun).Round(time.Second))
	if r.missed > 0 {
		fmt.Printf("%d figures miss their bar\n", r.missed)
		os.Exit(1)
	}
}

// report prints tables and counts the bars that are missed.
type report struct {
	runs   int
	missed int
}

// parallel runs the tasks at once and waits for them.
func parallel(tasks ...func()) {
	var wg sync.WaitGroup
	for _, task := range tasks {
		wg.Go(task)
	}
	wg.Wait()
}

// check returns the mark behind a figure.
func (r *report) check(ok bool) string {
	if ok {
		return "ok"
	}
	r.missed++
	return "MISSED"
}
