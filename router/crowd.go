package router

import "net/netip"

// crowd counts connections: all, and how many of them each client has. Its
// zero value is empty; whoever has it guards it.
type crowd struct {
	all    int
	shares map[netip.Addr]int
}

// join counts a connection that takes of the share of by, unless that has most
// of them already.
func (c *crowd) join(by netip.Addr, most int) bool {
	if by.IsValid() {
		if c.shares[by] >= most {
			return false
		}
		if c.shares == nil {
			c.shares = make(map[netip.Addr]int)
		}
		c.shares[by]++
	}
	c.all++
	return true
}

// leave is the opposite of join.
func (c *crowd) leave(by netip.Addr) {
	c.all--
	if !by.IsValid() {
		return
	}
	if c.shares[by]--; c.shares[by] == 0 {
		delete(c.shares, by)
	}
}

// chargedTo is whose share of the connections one from a takes; invalid:
// nobody's.
func (r *Router) chargedTo(a netip.Addr) netip.Addr {
	if a.IsLoopback() || isTrusted(a, r.cfg.TrustedProxies) {
		return netip.Addr{}
	}
	return sharer(a)
}

// sharer is what connections are counted by: an IPv4 address, or the /64 an
// IPv6 address is in, which is what one customer has.
func sharer(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
