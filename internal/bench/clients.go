package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// clients watches the connections that come to a router, as the kernel has
// them on the router's side.
type clients struct {
	ports  map[string]bool // in hexadecimal
	began  time.Time
	memory int64 // of all TCP connections of the machine at most, in bytes

	most    int           // that were slow
	full    time.Duration // when there were that many
	last    time.Duration // when one of them was last seen
	end     chan struct{}
	stopped chan struct{}
}

// probes is how many connections slowhttptest may have beside the slow ones,
// to see whether it is answered.
const probes = 2

// watchClients begins to watch the connections to the given addresses.
func watchClients(addrs ...string) *clients {
	c := newClients(addrs...)
	go c.run()
	return c
}

func newClients(addrs ...string) *clients {
	c := &clients{ports: map[string]bool{}, began: time.Now(), end: make(chan struct{}), stopped: make(chan struct{})}
	for _, a := range addrs {
		if _, port, err := net.SplitHostPort(a); err == nil {
			n, _ := strconv.Atoi(port)
			c.ports[fmt.Sprintf("%04X", n)] = true
		}
	}
	return c
}

func (c *clients) run() {
	defer close(c.stopped)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.end:
			return
		case <-tick.C:
			n, now := c.count()-slowPeers, time.Since(c.began)
			if n > probes {
				c.last = now
			}
			if n > c.most {
				c.most, c.full = n, now
			}
			c.memory = max(c.memory, tcpMemory())
		}
	}
}

// stop ends the watch.
func (c *clients) stop() {
	close(c.end)
	<-c.stopped
}

// count is how many connections to the ports are not closed. The kernel shows
// some of them twice when its table changes meanwhile.
func (c *clients) count() int {
	const timeWait, listen = "06", "0A"
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	seen := map[string]bool{}              // by remote address
	for line := range bytes.Lines(table) { // number, local address:port, remote address:port, state
		f := bytes.Fields(line)
		if len(f) < 4 || string(f[3]) == timeWait || string(f[3]) == listen {
			continue
		}
		if _, port, ok := strings.Cut(string(f[1]), ":"); ok && c.ports[port] {
			seen[port+string(f[2])] = true
		}
	}
	return len(seen)
}

// tcpMemory is what the kernel holds for all TCP connections, in bytes.
func tcpMemory() int64 {
	stat, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte("TCP:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) == 0 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[len(f)-1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
