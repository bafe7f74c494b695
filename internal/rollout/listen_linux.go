package rollout

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listeningPorts returns the TCP ports that a process and its descendants
// listen on, as far as this process may see. It reads /proc and needs no
// privilege: sockets are told by their owner where instances have users of
// their own, and else by the descriptors of the processes.
func listeningPorts(pid int) []int {
	if pid <= 0 {
		return nil
	}
	tree := descendants(pid)
	inodes := map[string]bool{}
	for _, p := range tree {
		addSockets(inodes, p)
	}
	owner := ""
	if uid, ok := ownerOf(pid); ok && uid != os.Getuid() && uid != 0 {
		owner = strconv.Itoa(uid)
	}
	var ports []int
	for _, name := range []string{"tcp", "tcp6"} {
		ports = append(ports, listeners(fmt.Sprintf("/proc/%d/net/%s", pid, name), owner, inodes)...)
	}
	return ports
}

// descendants returns the process and all that come from it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all) && len(all) < 1000; i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, task := range tasks {
			list, _ := os.ReadFile(task)
			for word := range strings.FieldsSeq(string(list)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// addSockets adds the inodes of the sockets a process has open.
func addSockets(inodes map[string]bool, pid int) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if inode, ok := strings.CutPrefix(target, "socket:["); ok && err == nil {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
}

// ownerOf returns the effective user of a process.
func ownerOf(pid int) (int, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			words := bytes.Fields(rest)
			if len(words) > 1 {
				uid, err := strconv.Atoi(string(words[1]))
				return uid, err == nil
			}
		}
	}
	return 0, false
}

// listeners reads the ports of listening sockets from a table of the kernel:
// those with one of the inodes, or owned by the user.
func listeners(path, owner string, inodes map[string]bool) []int {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var ports []int
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
		words := strings.Fields(lines.Text())
		if len(words) < 10 || words[3] != "0A" {
			continue
		}
		if !inodes[words[9]] && (owner == "" || words[7] != owner) {
			continue
		}
		_, hex, _ := strings.Cut(words[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			ports = append(ports, int(port))
		}
	}
	return ports
}
