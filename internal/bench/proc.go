package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pss adds up the three long-lived processes.
func (s *server) pss() (total int64, parts string, err error) {
	var names []string
	for pid, args := range processesBelow(s.cmd.Process.Pid) {
		name := ""
		switch {
		case pid == s.cmd.Process.Pid:
			name = "keeper"
		case len(args) > 1 && (args[1] == "router" || args[1] == "controller"):
			name = args[1]
		default:
			continue
		}
		n, err := pssOf(pid)
		if err != nil {
			return 0, "", err
		}
		total += n
		names = append(names, fmt.Sprintf("%s %.0f", name, float64(n)/1e6))
	}
	return total, strings.Join(names, ", "), nil
}

func (s *server) initPSS() (total int64, n int, err error) {
	for pid, args := range processesBelow(s.cmd.Process.Pid) {
		if len(args) < 2 || args[1] != "init" {
			continue
		}
		p, err := pssOf(pid)
		if err != nil {
			continue // ended meanwhile
		}
		total += p
		n++
	}
	return total, n, nil
}

// processesBelow returns the command lines of a process and all below it.
func processesBelow(root int) map[int][]string {
	parents := map[int]int{}
	args := map[int][]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parents[pid], _ = strconv.Atoi(fields[1])
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args[pid] = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	}
	found := map[int][]string{}
	for pid := range args {
		for p := pid; p > 1; p = parents[p] {
			if p == root {
				found[pid] = args[pid]
				break
			}
		}
	}
	return found
}

// pssOf returns the proportional set size of a process in bytes.
func pssOf(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no Pss line", pid)
}
