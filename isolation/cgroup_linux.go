package isolation

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the cgroups of all instances of one Host are made: below
// the one this process lives in, so that whoever limits us limits them too.
// Version 2 tracks and kills, whether it has controllers or not; memory is
// limited by whichever version the machine has bound it to.
type cgroupRoot struct {
	v2       string // directory; empty: no version 2
	v2Memory bool
	v1Memory string // directory; empty: not bound to version 1
	// leaf is the directory we moved ourselves to, so that the one we were in
	// may have controllers; empty if we did not.
	leaf string
}

// instanceGroups are the cgroups of one instance's program; its init is in none.
type instanceGroups struct {
	V2     string `json:"v2,omitempty"`
	Memory string `json:"memory,omitempty"` // of version 1, if limited there
	// LimitV2 says that V2 limits memory.
	LimitV2 bool `json:"limit_v2,omitempty"`
}

// openCgroups makes the directories below which instances get theirs. What
// cannot be had is left out, with a reason.
func openCgroups(instances string) (cgroupRoot, []string) {
	own, err := ownCgroups("/proc/self/mountinfo", "/proc/self/cgroup")
	if err != nil {
		return cgroupRoot{}, []string{"no cgroups: " + err.Error()}
	}
	h := fnv.New32a()
	h.Write([]byte(instances))
	name := fmt.Sprintf("weir-%08x", h.Sum32())
	var root cgroupRoot
	var missing []string
	if own.v2 != "" {
		if err := root.openV2(own.v2, name); err != nil {
			missing = append(missing, "no cgroup of version 2: "+reason(err))
		}
	}
	if own.v1Memory != "" {
		dir := filepath.Join(own.v1Memory, name)
		if err := makeCgroup(dir); err != nil {
			missing = append(missing, "no memory cgroup: "+reason(err))
		} else {
			root.v1Memory = dir
		}
	}
	return root, missing
}

func (r *cgroupRoot) openV2(own, name string) error {
	dir := filepath.Join(own, name)
	if err := makeCgroup(dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil {
		os.Remove(dir)
		return err // before Linux 5.14
	}
	r.v2 = dir
	if !hasWord(filepath.Join(own, "cgroup.controllers"), "memory") {
		return nil
	}
	if !hasWord(filepath.Join(own, "cgroup.subtree_control"), "memory") && !r.enableMemory(own, name) {
		return nil
	}
	r.v2Memory = writeFile(filepath.Join(dir, "cgroup.subtree_control"), "+memory") == nil
	return nil
}

// enableMemory lets the children of our own cgroup have the memory controller.
// A cgroup with processes may not, so if we are alone in it, we step aside
// into a leaf.
func (r *cgroupRoot) enableMemory(own, name string) bool {
	control := filepath.Join(own, "cgroup.subtree_control")
	if writeFile(control, "+memory") == nil {
		return true
	}
	b, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(os.Getpid()) {
		return false
	}
	leaf := filepath.Join(own, name+"-keeper")
	if makeCgroup(leaf) != nil || writeFile(filepath.Join(leaf, "cgroup.procs"), "0") != nil {
		return false
	}
	r.leaf = leaf
	return writeFile(control, "+memory") == nil
}

// close removes the directories, unless instances still have theirs in them.
func (r *cgroupRoot) close() {
	for _, dir := range []string{r.v2, r.v1Memory} {
		if dir != "" {
			os.Remove(dir)
		}
	}
	if r.leaf != "" {
		own := filepath.Dir(r.leaf)
		writeFile(filepath.Join(own, "cgroup.subtree_control"), "-memory")
		writeFile(filepath.Join(own, "cgroup.procs"), "0")
		os.Remove(r.leaf)
	}
}

// makeGroups makes the cgroups of one instance, with a memory limit if
// memoryMB is not 0. polled reports that the limit has to be enforced by other means.
func (r *cgroupRoot) makeGroups(id string, memoryMB int) (g instanceGroups, polled bool, err error) {
	defer func() {
		if err != nil {
			g.remove(time.Second)
			g = instanceGroups{}
		}
	}()
	limit := strconv.FormatInt(int64(memoryMB)<<20, 10)
	if r.v2 != "" {
		g.V2 = filepath.Join(r.v2, id)
		if err := makeCgroup(g.V2); err != nil {
			return g, false, err
		}
		if r.v2Memory && memoryMB > 0 {
			g.LimitV2 = true
			writeFile(filepath.Join(g.V2, "memory.swap.max"), "0") // not there without swap accounting
			writeFile(filepath.Join(g.V2, "memory.oom.group"), "1")
			return g, false, writeFile(filepath.Join(g.V2, "memory.max"), limit)
		}
	}
	if r.v1Memory == "" || memoryMB == 0 {
		return g, memoryMB > 0, nil
	}
	g.Memory = filepath.Join(r.v1Memory, id)
	if err := makeCgroup(g.Memory); err != nil {
		return g, false, err
	}
	if err := writeFile(filepath.Join(g.Memory, "memory.limit_in_bytes"), limit); err != nil {
		return g, false, err
	}
	writeFile(filepath.Join(g.Memory, "memory.memsw.limit_in_bytes"), limit) // not there without swap accounting
	return g, false, nil
}

// kill kills everything in the cgroup of version 2, if there is one.
func (g instanceGroups) kill() error {
	if g.V2 == "" {
		return nil
	}
	return writeFile(filepath.Join(g.V2, "cgroup.kill"), "1")
}

// remove removes the cgroups. One whose last processes are just being reaped
// is tried again until wait is over.
func (g instanceGroups) remove(wait time.Duration) error {
	deadline := time.Now().Add(wait)
	var all error
	for _, dir := range []string{g.V2, g.Memory} {
		if dir == "" {
			continue
		}
		err := os.Remove(dir)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond) // the last exit is not an event to wait for in version 1
			err = os.Remove(dir)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// oomKills returns how many processes of the instance the kernel has killed
// for want of memory.
func (g instanceGroups) oomKills() int {
	switch {
	case g.LimitV2:
		return readKey(filepath.Join(g.V2, "memory.events"), "oom_kill")
	case g.Memory != "":
		return readKey(filepath.Join(g.Memory, "memory.oom_control"), "oom_kill")
	}
	return 0
}

// memory returns the memory in use without what is only page cache; ok is
// false if it is not accounted.
func (g instanceGroups) memory() (bytes int64, ok bool) {
	dir, current, inactive := g.Memory, "memory.usage_in_bytes", "total_inactive_file"
	if g.LimitV2 {
		dir, current, inactive = g.V2, "memory.current", "inactive_file"
	}
	if dir == "" {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, false
	}
	return max(n-int64(readKey(filepath.Join(dir, "memory.stat"), inactive)), 0), true
}

// cpu returns the CPU time used by all processes that ever were in the cgroup.
func (g instanceGroups) cpu() (time.Duration, bool) {
	if g.V2 == "" {
		return 0, false
	}
	us := readKey(filepath.Join(g.V2, "cpu.stat"), "usage_usec")
	return time.Duration(us) * time.Microsecond, us > 0
}

// procs returns the processes in the cgroup of version 2.
func (g instanceGroups) procs() ([]int, bool) {
	if g.V2 == "" {
		return nil, false
	}
	b, err := os.ReadFile(filepath.Join(g.V2, "cgroup.procs"))
	if err != nil {
		return nil, false
	}
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

// ownGroups are the directories of the cgroups this process is in.
type ownGroups struct{ v2, v1Memory string }

// ownCgroups finds them from the kernel's tables, in the format of
// /proc/self/mountinfo and /proc/self/cgroup.
func ownCgroups(mountinfo, cgroup string) (ownGroups, error) {
	paths, err := cgroupPaths(cgroup)
	if err != nil {
		return ownGroups{}, err
	}
	f, err := os.Open(mountinfo)
	if err != nil {
		return ownGroups{}, err
	}
	defer f.Close()
	var own ownGroups
	for sc := bufio.NewScanner(f); sc.Scan(); {
		mount, fs, ok := strings.Cut(sc.Text(), " - ")
		m, t := strings.Fields(mount), strings.Fields(fs)
		if !ok || len(m) < 5 || len(t) < 3 {
			continue
		}
		switch {
		case t[0] == "cgroup2" && own.v2 == "":
			own.v2 = belowMount(m[4], m[3], paths[""])
		case t[0] == "cgroup" && own.v1Memory == "" && containsWord(t[2], ",", "memory"):
			own.v1Memory = belowMount(m[4], m[3], paths["memory"])
		}
	}
	return own, nil
}

// belowMount returns the directory of a cgroup path under a mount that shows
// the hierarchy from root on; "" if the path is not below it.
func belowMount(mountpoint, root, path string) string {
	if path == "" {
		return ""
	}
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return filepath.Join(mountpoint, rel)
}

// cgroupPaths reads lines such as "4:memory:/a" and "0::/b", by controller;
// version 2 has the controller "".
func cgroupPaths(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			paths[c] = f[2]
		}
	}
	return paths, nil
}

func makeCgroup(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// writeFile writes to a file of the kernel, which must be there.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// readKey returns the number after a key in a file of "key number" lines, 0 if
// it is not there.
func readKey(path, key string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}

func hasWord(path, word string) bool {
	b, err := os.ReadFile(path)
	return err == nil && containsWord(strings.TrimSpace(string(b)), " ", word)
}

func containsWord(s, sep, word string) bool {
	for w := range strings.SplitSeq(s, sep) {
		if w == word {
			return true
		}
	}
	return false
}

// reason is the bare cause of a system error, fit for a sentence: without the
// paths, but with what was being done if that is known.
func reason(err error) string {
	if e, ok := errors.AsType[*initError](err); ok && e.Errno != 0 {
		return e.Step + ": " + e.Errno.Error()
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
