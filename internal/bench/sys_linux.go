package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/bench/load"
)

// startOn starts a command whose process, with all it will ever start, may run
// on one processor only, there before others if that is allowed; a Go program
// takes the one for its GOMAXPROCS. A negative cpu means any.
func startOn(cpu int, cmd *exec.Cmd) error {
	if cpu < 0 {
		return cmd.Start()
	}
	// A process begins with the binding of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("binding to a processor: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("binding to processor %d: %w", cpu, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	defer load.Hurry()()
	return cmd.Start()
}

// hurry gives processes precedence over others if that is allowed: where the
// kernel schedules sessions as wholes, the precedence of one process counts
// only within its own.
func hurry(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(load.Precedence)), 0)
	}
}

// calm takes back what hurry gave.
func calm(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("0"), 0)
	}
}

// precede lets all threads of processes, and those that they will start, run
// before anybody else's, and takes that back; it reports false if that is not
// allowed.
func precede(pids []int, before bool) bool {
	attr := unix.SchedAttr{}
	if before {
		attr = unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}
	}
	allowed := true
	for _, pid := range pids {
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range threads {
			if tid, err := strconv.Atoi(t.Name()); err == nil && unix.SchedSetAttr(tid, &attr, 0) == unix.EPERM {
				allowed = false
			}
		}
	}
	return allowed
}

// yield lets all others of its session go before a process.
func yield(pid int) {
	_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Nice: 19}, 0)
}

// cpuOf is the time the process and its ended threads spent on processors, in
// user and kernel mode; zero for a process that is gone. Unlike
// /proc/PID/stat it does not count in steps of 10 ms.
func cpuOf(pid int) time.Duration {
	const schedClock = 2
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|schedClock), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// manyFiles raises the limit of open files as far as it may, for this process
// and those it starts, and returns it.
func manyFiles() int {
	const enough = 65536
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1024
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: enough, Max: max(lim.Max, enough)}) == nil {
		return enough
	}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: lim.Max, Max: lim.Max})
	return int(lim.Max)
}
