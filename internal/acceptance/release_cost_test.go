package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// G22: what a version beside the main one costs while nobody asks for it, the
// app's own memory and time apart.
func TestRelease_IdleVersionsCostLittle(t *testing.T) {
	more, watched := 8, 5*time.Second
	if long() {
		more, watched = 30, time.Minute
	}
	s := start(t)
	s.pushVersions("web", nil, "v1")
	s.must("spawn", "web:v2", "--weight", "0")
	s.ask("web.apps.localhost", "/", 50)
	memoryBefore, table := s.ownMemory(), s.keptTable()
	for i := range more {
		s.must("spawn", fmt.Sprintf("web:x%d", i), "--weight", "0")
	}
	s.ask("web.apps.localhost", "/", 50)
	each := (s.ownMemory() - memoryBefore) / more
	figure(t, "G22", fmt.Sprintf("memory of weir for each of %d idle versions", more), fmt.Sprintf("%.1f MiB", float64(each)/1024), "≤ 6 MiB", each <= 6<<10)
	perVersion := (s.keptTable() - table) / more
	figure(t, "G22", "bytes the router keeps for the change each of them is", fmt.Sprint(perVersion), "≤ 16 KiB", perVersion <= 16<<10)
	begun := s.ownTicks()
	time.Sleep(watched)
	busy := float64(s.ownTicks()-begun) / 100 / watched.Seconds() * 100
	figure(t, "G22", fmt.Sprintf("processor time of weir beside %d versions nobody asks", more+2), fmt.Sprintf("%.1f %%", busy), "≤ 2 %", busy <= 2)
}

// own returns the pids of weir's processes: those of the server and the inits
// of instances, not the programs.
func (s *server) own() (pids []int) {
	for _, p := range processes(s.t, s.data()) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
		if len(p.args) > 0 && (exe == binary || p.args[0] == "weir") {
			pids = append(pids, p.pid)
		}
	}
	return append(pids, values(s.inits())...)
}

func values(m map[string]int) (all []int) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// ownMemory returns the proportional memory of weir's processes in KiB.
func (s *server) ownMemory() (kib int) {
	s.t.Helper()
	seen := map[int]bool{}
	for _, pid := range s.own() {
		if seen[pid] {
			continue
		}
		seen[pid] = true
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := bytes.Cut(b, []byte("\nPss:"))
		var n int
		if _, err := fmt.Sscan(string(rest), &n); err == nil {
			kib += n
		}
	}
	return kib
}

// ownTicks returns the processor time of weir's processes in hundredths of a
// second.
func (s *server) ownTicks() (ticks int) {
	s.t.Helper()
	seen := map[int]bool{}
	for _, pid := range s.own() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || seen[pid] {
			continue
		}
		seen[pid] = true
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		ticks += user + system
	}
	return ticks
}

// keptTable returns the size of what the router keeps of its table.
func (s *server) keptTable() (size int) {
	s.t.Helper()
	err := filepath.Walk(filepath.Join(s.data(), "router"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size += int(info.Size())
		}
		return err
	})
	must(s.t, "reading the router's files", err)
	return size
}
