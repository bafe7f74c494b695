package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"

	"weir/internal/platform"
)

// socket is a listening socket the keeper holds for a child.
type socket struct {
	Name string // what the child knows it by
	Addr string // as configured
	UDP  bool   `json:",omitempty"`
	file *os.File
	addr net.Addr // where it really listens
}

// listenAll makes the sockets that were not taken over from an adopted child.
func (k *Keeper) listenAll() error {
	for _, c := range k.children {
		names := make([]string, 0, len(c.cfg.Listeners))
		for name := range c.cfg.Listeners {
			names = append(names, name)
		}
		slices.Sort(names) // errors come in the same order each time
		for _, name := range names {
			for _, l := range c.cfg.Listeners[name] {
				if c.holds(name, l.Addr) {
					continue
				}
				sockets, err := listen(name, l)
				if err != nil {
					return err
				}
				c.addSockets(sockets)
			}
		}
	}
	return nil
}

// listen opens the sockets of one configured address: two for "localhost".
func listen(name string, l Listen) ([]socket, error) {
	host, port, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return nil, badAddress(l, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, badAddress(l, fmt.Errorf("port %q is not a number up to 65535", port))
	}
	if host != "localhost" {
		if host != "" && net.ParseIP(host) == nil {
			return nil, badAddress(l, fmt.Errorf("%q is not an IP address", host))
		}
		s, err := listenOne(name, l, l.Addr)
		return []socket{s}, err
	}
	v4, err := listenOne(name, l, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	_, port, _ = net.SplitHostPort(v4.addr.String())
	v6, err := listenOne(name, l, net.JoinHostPort("::1", port))
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return []socket{v4}, nil // no IPv6 here
	}
	if err != nil {
		v4.file.Close()
		return nil, err
	}
	return []socket{v4, v6}, nil
}

func badAddress(l Listen, err error) error {
	return &platform.Error{
		Kind: platform.KindInvalid,
		Msg:  fmt.Sprintf("cannot listen on %q: not an address like 127.0.0.1:8080", l.Addr),
		Hint: "set it with " + l.Flag, Err: err,
	}
}

func listenOne(name string, l Listen, addr string) (socket, error) {
	if l.UDP {
		return listenPackets(name, l, addr)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // nobody speaks it to us, and it cannot be spliced
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return socket{}, listenError(l, addr, err)
	}
	defer ln.Close() // the file is a descriptor of its own
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		return socket{}, err
	}
	return socket{Name: name, Addr: l.Addr, file: f, addr: ln.Addr()}, nil
}

func listenPackets(name string, l Listen, addr string) (socket, error) {
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		return socket{}, listenError(l, addr, err)
	}
	defer conn.Close()
	f, err := conn.(*net.UDPConn).File()
	if err != nil {
		return socket{}, err
	}
	return socket{Name: name, Addr: l.Addr, UDP: true, file: f, addr: conn.LocalAddr()}, nil
}

func listenError(l Listen, addr string, err error) error {
	e := &platform.Error{Kind: platform.KindConflict, Err: err}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Msg = fmt.Sprintf("cannot listen on %s: the port is already in use", addr)
		e.Hint = fmt.Sprintf("stop the program that uses it, or choose another address with %s", l.Flag)
	case errors.Is(err, syscall.EACCES):
		e.Kind = platform.KindForbidden
		e.Msg = fmt.Sprintf("cannot listen on %s: ports below 1024 need privileges", addr)
		e.Hint = fmt.Sprintf("choose a higher port with %s, or run as root", l.Flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Kind = platform.KindInvalid
		e.Msg = fmt.Sprintf("cannot listen on %s: this machine does not have that address", addr)
		e.Hint = "choose another address with " + l.Flag
	default:
		e.Kind = platform.KindInvalid
		e.Msg = fmt.Sprintf("cannot listen on %s", addr)
		e.Hint = "choose another address with " + l.Flag
	}
	return e
}
