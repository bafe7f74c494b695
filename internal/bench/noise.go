package main

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// noisy is how many processors others may use while something is measured;
// with more, the figure is marked.
const noisy = 0.35

// noise tells how busy others kept the machine between two moments.
type noise struct {
	at         time.Time
	busy, ours time.Duration
}

// listen begins to listen; pids are measured, and do not count as others.
func listenNoise(pids []int) noise {
	return noise{at: time.Now(), busy: busyTime(), ours: oursTime(pids)}
}

// others returns how many processors others used since then.
func (n noise) others(pids []int) float64 {
	elapsed := time.Since(n.at)
	others := busyTime() - n.busy - (oursTime(pids) - n.ours)
	return max(0, others.Seconds()/elapsed.Seconds())
}

func oursTime(pids []int) time.Duration {
	total := cpuOf(os.Getpid())
	for _, p := range pids {
		total += cpuOf(p)
	}
	return total
}

// busyTime is what all processors together have worked since the machine
// started, with what the hypervisor took away.
func busyTime() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	var ticks int64
	for i, f := range bytes.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 7 { // idle, waiting for a disk; guests are in the first two
			continue
		}
		n, _ := strconv.ParseInt(string(f), 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
