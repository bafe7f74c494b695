package isolation

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat_NameOfAProgramIsItsOwnBusiness(t *testing.T) {
	rest := " S 41 42 43 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 1000 99 18446744073709551615"
	for _, name := range []string{"sh", "a b", ") R 1 1 1 (", "))) ((", "\n", ""} {
		got, err := parseStat([]byte("17 (" + name + ")" + rest))
		want := procStat{pid: 17, ppid: 41, session: 43, cpu: 5 + 6, childCPU: 7 + 8, start: 12345, rss: 99}
		// 18446744073709551615, the limit of memory, is no field of ours.
		if err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(procStat{})) {
			t.Errorf("%q: %v, %s", name, err, cmp.Diff(want, got, cmp.AllowUnexported(procStat{})))
		}
	}
	for _, bad := range []string{"", "17", "17 (sh", "17 (sh) S 1 2", "17 (sh) S x" + rest[3:]} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("17 (sh) S 41 42 43 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 1000 99")
	f.Add("1 (")
	f.Add(")(")
	f.Fuzz(func(t *testing.T, line string) {
		st, err := parseStat([]byte(line))
		if err == nil && !strings.Contains(line, strconv.Itoa(st.pid)) {
			t.Errorf("%q has no pid %d", line, st.pid)
		}
	})
}

func TestIdentify_Self(t *testing.T) {
	id, err := Identify(os.Getpid())
	must(t, err)
	p, err := Find(id)
	must(t, err)
	defer p.Close()
	if p.ended() || id.Boot == "" || id.Start == 0 {
		t.Errorf("identity %+v, ended %v", id, p.ended())
	}
}

func TestOwnCgroups(t *testing.T) {
	const hybrid = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
`
	const pure = "30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	for _, c := range []struct {
		name, mounts, groups string
		want                 ownGroups
	}{
		{"hybrid", hybrid, "5:pids:/\n4:memory:/sup/a\n0::/\n", ownGroups{v2: "/sys/fs/cgroup/unified", v1Memory: "/sys/fs/cgroup/memory/sup/a"}},
		{"pure", pure, "0::/system.slice/weir.service\n", ownGroups{v2: "/sys/fs/cgroup/system.slice/weir.service"}},
		{"a container sees its part", strings.Replace(pure, "0:26 / ", "0:26 /docker/x ", 1), "0::/docker/x/y\n", ownGroups{v2: "/sys/fs/cgroup/y"}},
		{"outside what is mounted", strings.Replace(pure, "0:26 / ", "0:26 /docker/x ", 1), "0::/docker/z\n", ownGroups{}},
		{"joined controllers", "3 1 0:3 / /c rw - cgroup cgroup rw,cpu,memory\n", "4:cpu,memory:/m\n", ownGroups{v1Memory: "/c/m"}},
		{"none", "", "", ownGroups{}},
	} {
		dir := t.TempDir()
		mounts, groups := filepath.Join(dir, "mountinfo"), filepath.Join(dir, "cgroup")
		must(t, os.WriteFile(mounts, []byte(c.mounts), 0o600))
		must(t, os.WriteFile(groups, []byte(c.groups), 0o600))
		got, err := ownCgroups(mounts, groups)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// TestCgroups_Version2Memory uses plain files in place of the kernel's: what
// this machine has bound to version 1, others have in version 2.
func TestCgroups_Version2Memory(t *testing.T) {
	own := t.TempDir()
	files := func(dir string, names ...string) {
		for _, n := range names {
			must(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
		}
	}
	write := func(dir, name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	write(own, "cgroup.controllers", "cpu memory pids\n")
	files(own, "cgroup.subtree_control", "cgroup.procs")
	weir := filepath.Join(own, "weir-x")
	must(t, os.Mkdir(weir, 0o755))
	files(weir, "cgroup.kill", "cgroup.subtree_control")

	var root cgroupRoot
	must(t, root.openV2(own, "weir-x"))
	if !root.v2Memory || root.v2 != weir || read(t, weir, "cgroup.subtree_control") != "+memory" {
		t.Fatalf("%+v", root)
	}
	inst := filepath.Join(weir, "i-1")
	must(t, os.Mkdir(inst, 0o755))
	files(inst, "memory.max", "memory.swap.max", "memory.oom.group", "cgroup.kill")
	g, polled, err := root.makeGroups("i-1", 64)
	must(t, err)
	if polled || !g.LimitV2 || g.Memory != "" || read(t, inst, "memory.max") != "67108864" || read(t, inst, "memory.oom.group") != "1" || read(t, inst, "memory.swap.max") != "0" {
		t.Errorf("groups %+v", g)
	}
	write(inst, "memory.events", "low 0\noom 1\noom_kill 2\noom_group_kill 1\n")
	write(inst, "memory.current", "5000\n")
	write(inst, "memory.stat", "anon 1\ninactive_file 2000\n")
	write(inst, "cpu.stat", "usage_usec 1500\nuser_usec 1\n")
	write(inst, "cgroup.procs", "12\n34\n")
	mem, _ := g.memory()
	cpu, _ := g.cpu()
	pids, _ := g.procs()
	if g.oomKills() != 2 || mem != 3000 || cpu.Microseconds() != 1500 || !cmp.Equal(pids, []int{12, 34}) {
		t.Errorf("oom %d, memory %d, cpu %v, pids %v", g.oomKills(), mem, cpu, pids)
	}
	must(t, g.kill())
	if read(t, inst, "cgroup.kill") != "1" {
		t.Error("nothing was killed")
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(b)
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"3f1c-a_b.c": true, "": false, ".": false, "..": false, ".probe": false, "a/b": false, "a\x00": false,
		strings.Repeat("a", 101): false, "é": false,
	} {
		if ValidID(id) != want {
			t.Errorf("ValidID(%q) = %v", id, !want)
		}
	}
}
