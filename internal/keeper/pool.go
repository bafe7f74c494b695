package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"weir/internal/platform"
)

// pool gives out numbers from a range, round and round, so that one comes back
// as late as possible, and not within quarantine. It is not safe for
// concurrent use.
type pool struct {
	first, count int
	next         int // offset of the next one to try
	quarantine   time.Duration
	usable       func(int) bool // nil: all are
	busy         map[int]bool
	freed        map[int]time.Time
}

// newPool begins somewhere in the range: whoever was there before began
// somewhere, too.
func newPool(first, count int, quarantine time.Duration, usable func(int) bool) *pool {
	return &pool{
		first: first, count: count, next: rand.IntN(max(count, 1)), quarantine: quarantine, usable: usable,
		busy: map[int]bool{}, freed: map[int]time.Time{},
	}
}

// take returns a free number; ok is false if there is none.
func (p *pool) take() (n int, ok bool) {
	for range p.count {
		n := p.first + p.next
		p.next = (p.next + 1) % p.count
		if at, ok := p.freed[n]; ok {
			if time.Since(at) < p.quarantine {
				continue
			}
			delete(p.freed, n)
		}
		if p.busy[n] || (p.usable != nil && !p.usable(n)) {
			continue
		}
		p.busy[n] = true
		return n, true
	}
	return 0, false
}

// use marks a number of an adopted instance.
func (p *pool) use(n int) {
	if n != 0 {
		p.busy[n] = true
	}
}

func (p *pool) free(n int) {
	if p.busy[n] {
		delete(p.busy, n)
		p.freed[n] = time.Now()
	}
}

// defaultPorts returns a range that the kernel does not give to outgoing
// connections: one of those would now and then have the port of an instance
// that is just starting.
func defaultPorts() PortRange {
	preferred := PortRange{First: 40000, Last: 49999}
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return preferred
	}
	var low, high int
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil {
		return preferred
	}
	return portsOutside(preferred, low, high)
}

func portsOutside(preferred PortRange, low, high int) PortRange {
	size := preferred.Last - preferred.First + 1
	switch {
	case preferred.Last < low || preferred.First > high:
		return preferred
	case low-size >= 10000:
		return PortRange{First: low - size, Last: low - 1}
	case high+size <= 65535:
		return PortRange{First: high + 1, Last: high + size}
	}
	return preferred
}

// portFree reports whether a program could listen on a port, at any address.
// It binds and does not listen: nobody can connect meanwhile.
func portFree(port int) bool {
	return canBind(syscall.AF_INET, &syscall.SockaddrInet4{Port: port}) &&
		canBind(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port})
}

func canBind(family int, addr syscall.Sockaddr) bool {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return family == syscall.AF_INET6 // a machine without IPv6
	}
	defer syscall.Close(fd)
	if family == syscall.AF_INET6 {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1)
	}
	return syscall.Bind(fd, addr) == nil
}

func errNoPort(r PortRange) error {
	return &platform.Error{
		Kind: platform.KindExhausted,
		Msg:  fmt.Sprintf("no port is free for an instance (%d to %d)", r.First, r.Last),
		Hint: "stop some instances",
	}
}
