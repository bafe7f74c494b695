package isolation

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// watchMemory reports when the instance went over its memory limit. With a
// cgroup of version 2 the kernel kills all of it; the exit record then looks at
// the counter. With version 1 it kills one process, and we the others. Without
// any we look from time to time.
func (in *initProcess) watchMemory() {
	switch {
	case in.plan.Poll:
		in.pollMemory()
	case in.plan.Groups.Memory != "":
		in.awaitOOM(in.plan.Groups.Memory)
	}
}

// awaitOOM waits for the kernel's notice that a version 1 cgroup ran out of
// memory. The notice comes before the kill is counted.
func (in *initProcess) awaitOOM(dir string) {
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return // then the exit record says so only if it hits the program itself
	}
	control, err := os.Open(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return
	}
	defer control.Close()
	if err := writeFile(filepath.Join(dir, "cgroup.event_control"), fmt.Sprintf("%d %d", efd, control.Fd())); err != nil {
		return
	}
	for {
		var count [8]byte
		if _, err := unix.Read(efd, count[:]); err != nil && err != unix.EINTR {
			return
		}
		for range 100 {
			if in.plan.Groups.oomKills() > 0 {
				in.events <- outOfMemory
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// How often memory is looked at, by how much of the limit is in use: a program
// that is far from it is left in peace.
const (
	pollRelaxed = 400 * time.Millisecond // below a half
	pollAlert   = 100 * time.Millisecond
	pollClose   = 20 * time.Millisecond // above four fifths
)

func (in *initProcess) pollMemory() {
	limit := int64(in.plan.MemoryMB) << 20
	for {
		used := in.treeMemory(limit)
		wait := pollRelaxed
		switch {
		case used > limit:
			in.events <- outOfMemory
			return
		case used > limit*4/5:
			wait = pollClose
		case used > limit/2:
			wait = pollAlert
		}
		time.Sleep(wait)
	}
}

// treeMemory returns the memory of all processes of the instance: cheaply
// counted, with shared pages once per process, and carefully if that is over
// the limit.
func (in *initProcess) treeMemory(limit int64) int64 {
	procs, err := readProcs()
	if err != nil {
		return 0
	}
	pids := descendants(procs, os.Getpid())
	var rss int64
	for _, pid := range pids {
		rss += procs[pid].rss * int64(os.Getpagesize())
	}
	if rss <= limit {
		return rss
	}
	return sharedMemory(procs, pids)
}

// sharedMemory adds up the memory of processes, each page divided by those who
// share it; where that may not be read, as if not shared.
func sharedMemory(procs map[int]procStat, pids []int) int64 {
	var total int64
	for _, pid := range pids {
		if pss, ok := readPSS(pid); ok {
			total += pss
			continue
		}
		total += procs[pid].rss * int64(os.Getpagesize())
	}
	return total
}

func readPSS(pid int) (int64, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			kb, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(v), []byte("kB")))), 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}
