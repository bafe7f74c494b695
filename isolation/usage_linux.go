package isolation

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc, the same on all machines.
const clockTick = time.Second / 100

// Usage returns what the instance uses now, or used half a second ago.
func (i *Instance) Usage() (Usage, error) {
	procs, pids, err := i.processes(500 * time.Millisecond)
	if err == nil && len(pids) == 0 { // the table is older than the instance
		procs, pids, err = i.processes(0)
	}
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Processes: len(pids), DiskBytes: i.disk.read(i.written())}
	var ok bool
	if u.CPUTime, ok = i.state.Groups.cpu(); !ok {
		ticks := procs[i.state.Init.PID].childCPU
		for _, pid := range pids {
			ticks += procs[pid].cpu + procs[pid].childCPU
		}
		u.CPUTime = time.Duration(ticks) * clockTick
	}
	if u.MemoryBytes, ok = i.state.Groups.memory(); !ok {
		u.MemoryBytes = sharedMemory(procs, pids)
	}
	for _, pid := range pids {
		if dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd"); err == nil {
			names, _ := dir.Readdirnames(-1)
			u.FDs += len(names)
			dir.Close()
		}
	}
	return u, nil
}

// processes returns the instance's, from a table of at most that age.
func (i *Instance) processes(maxAge time.Duration) (map[int]procStat, []int, error) {
	procs, err := i.host.procs.read(maxAge)
	if err != nil {
		return nil, nil, err
	}
	pids, ok := i.state.Groups.procs()
	if !ok {
		pids = descendants(procs, i.state.Init.PID)
	}
	return procs, pids, nil
}

// written returns the directory that holds what the program wrote.
func (i *Instance) written() string {
	if i.state.Spec.Root != "" {
		return i.state.Spec.Root
	}
	if copied := filepath.Join(i.dir, "fs"); exists(copied) {
		return copied
	}
	return filepath.Join(i.dir, "rw", "upper")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// diskMeter measures a directory, and repeats it the more rarely the longer it
// takes.
type diskMeter struct {
	mu    sync.Mutex // guards all below; held while measuring, so that one does
	bytes int64
	next  time.Time
}

func (m *diskMeter) read(dir string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	begin := time.Now()
	if begin.Before(m.next) {
		return m.bytes
	}
	m.bytes = diskUsage(dir)
	m.next = time.Now().Add(max(5*time.Second, 50*time.Since(begin)))
	return m.bytes
}

// diskUsage returns the blocks a directory occupies, in bytes. What cannot be
// read, or goes away meanwhile, is left out.
func diskUsage(dir string) int64 {
	var total int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512
			}
		}
		return nil
	})
	return total
}
