package keeper

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestPool_GivesBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(100, 3, time.Minute, func(n int) bool { return n != 101 })
		a, ok1 := p.take()
		b, ok2 := p.take()
		if _, ok := p.take(); !ok1 || !ok2 || ok || a == b || a == 101 || b == 101 {
			t.Fatalf("took %d, %d", a, b)
		}
		p.free(a)
		p.free(a)
		p.free(999)
		if n, ok := p.take(); ok {
			t.Errorf("%d came back at once", n)
		}
		time.Sleep(time.Minute)
		if n, ok := p.take(); !ok || n != a {
			t.Errorf("after the quarantine: %d, %v", n, ok)
		}
		p.use(0)
		p.use(101)
	})
}

func TestPortFree(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Log(err) // no IPv6
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		if portFree(port) {
			t.Errorf("%s is taken", l.Addr())
		}
		l.Close()
		if !portFree(port) {
			t.Errorf("%s is free again", l.Addr())
		}
	}
}

func TestPortsOutside(t *testing.T) {
	preferred := PortRange{40000, 49999}
	for _, c := range []struct {
		low, high int
		want      PortRange
	}{
		{32768, 60999, PortRange{22768, 32767}},
		{50000, 60999, preferred},
		{1024, 39999, preferred},
		{15000, 50000, PortRange{50001, 60000}},
		{1024, 65535, preferred},
	} {
		if got := portsOutside(preferred, c.low, c.high); got != c.want {
			t.Errorf("ephemeral %d to %d: %v, want %v", c.low, c.high, got, c.want)
		}
	}
}
