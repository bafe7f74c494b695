package router

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An idle connection that carried a request costs at most this, in the
// resident memory of the router's process.
const idleBudget = 8 << 10

func TestRouter_KeepsTenThousandIdleConnectionsInLittleMemory(t *testing.T) {
	if isRace() {
		t.Skip("the race detector has memory of its own for each")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := int(min(10_000, limit.Cur/2))
	path := fastPaths()[0]
	p := startProxy(t, "router", serveRaw(t, answering(path.answer)))
	defer p.stop()
	exchanger(t, p.addr, path)()
	before := p.resident(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range n / 8 {
				c, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { _ = c.Close() })
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, _ = io.WriteString(c, path.request)
				if _, err := io.ReadAtLeast(c, make([]byte, 4096), 200); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	each := (p.resident(t) - before) / (n / 8 * 8)
	t.Logf("%d idle connections cost %d bytes each", n, each)
	if each > idleBudget {
		t.Errorf("more than %d", idleBudget)
	}
}

// resident returns the bytes of memory the process has.
func (p *proxyProcess) resident(t testing.TB) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	kb, err := strconv.Atoi(strings.Fields(string(rest[:32]))[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
