package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is the event loop and the instance that it serves.
type Loop struct {
	ep     int
	listen *listener
	addr   string
	socks  []socket // by descriptor
	events [256]unix.EpollEvent
	buf    []byte // what one read brings, of any socket

	small   []byte // answers
	smallAt int
	large   []byte
	largeAt int

	requests [2][]byte // small, large
	closing  []byte    // small, on a connection of its own
	blocks   blocks

	run *run
	cpu int // to run on; -1: any
}

// socket is what a descriptor in the loop belongs to.
type socket interface {
	// ready is called when the kernel has something for the socket.
	ready(l *Loop, events uint32)
}

// New returns a Loop whose thread runs on the given processor, or on any if
// cpu is negative. The instance listens from now on.
func New(cpu int) (*Loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &Loop{ep: ep, cpu: cpu, buf: make([]byte, 256<<10), blocks: newBlocks()}
	body := make([]byte, smallBody)
	for i := range body {
		body[i] = 'a' + byte(i%26)
	}
	l.small, l.smallAt = answer1(body)
	l.large, l.largeAt = answer1(largePattern())
	l.requests = [2][]byte{request1(smallTarget, ""), request1(largeTarget, "")}
	l.closing = request1(smallTarget, "close")
	if l.listen, l.addr, err = listen(); err != nil {
		l.Close()
		return nil, err
	}
	return l, l.add(l.listen.fd, l.listen, unix.EPOLLIN)
}

// Instance returns where the instance listens, as host:port.
func (l *Loop) Instance() string { return l.addr }

// Close ends the loop and the instance.
func (l *Loop) Close() {
	for fd, s := range l.socks {
		if s != nil {
			unix.Close(fd)
		}
	}
	l.socks = nil
	unix.Close(l.ep)
}

// Run puts the load on its proxy and returns when it is over. An error means
// that the load could not be made; wrong answers are in the result.
func (l *Loop) Run(p Plan) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	runtime.LockOSThread() // and the thread ends with its goroutine
	if l.cpu >= 0 {
		defer unlockThread()
		if err := pin(l.cpu); err != nil {
			return Result{}, err
		}
		defer Hurry()()
	} else {
		defer runtime.UnlockOSThread()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r := &run{l: l, plan: p}
	l.run = r
	defer func() { l.run = nil }()
	err := r.open()
	if err == nil {
		err = l.spin()
	}
	r.closeAll()
	return r.result, err
}

// stall is how long nothing may be answered before a run is given up.
const stall = 10 * time.Second

// spin handles events until the run is over.
func (l *Loop) spin() error {
	r := l.run
	for {
		wait, over, err := r.tick()
		if over || err != nil {
			return err
		}
		n, err := epollWait(l.ep, l.events[:], wait)
		if err != nil {
			return err
		}
		for _, e := range l.events[:n] {
			if s := l.socks[e.Fd]; s != nil {
				s.ready(l, e.Events)
			}
		}
	}
}

// add puts a descriptor into the loop.
func (l *Loop) add(fd int, s socket, events uint32) error {
	for fd >= len(l.socks) {
		l.socks = append(l.socks, make([]socket, fd+64)...)
	}
	l.socks[fd] = s
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// want changes what a descriptor waits for.
func (l *Loop) want(fd int, events uint32) {
	_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// drop closes a descriptor.
func (l *Loop) drop(fd int) {
	l.socks[fd] = nil
	unix.Close(fd)
}

// epollWait blocks without telling the scheduler: the thread keeps its
// processor, which saves two switches for each wait.
func epollWait(ep int, events []unix.EpollEvent, wait time.Duration) (int, error) {
	ts := unix.NsecToTimespec(int64(max(wait, 0)))
	n, errno := epollPwait2(ep, events, &ts)
	if errno != 0 && errno != unix.EINTR {
		return 0, fmt.Errorf("waiting for sockets: %w", errno)
	}
	if errno != 0 {
		return 0, nil
	}
	return n, nil
}

// tlsSocket makes a connection with a finished TLS handshake.
func tlsSocket(p Plan) (int, *records, error) {
	addr, err := sockaddr(p.Addr)
	if err != nil {
		return -1, nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	rec, err := shakeOn(fd, addr, p)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, rec, nil
}

func shakeOn(fd int, addr unix.Sockaddr, p Plan) (*records, error) {
	if err := unix.Connect(fd, addr); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", p.Addr, err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	conn, err := connOf(fd)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // a descriptor of its own
	cfg := &tls.Config{ServerName: Host, RootCAs: p.Roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	if p.Proto == HTTP2TLS {
		cfg.NextProtos = []string{"h2"}
	}
	return shake(conn, cfg)
}

func sockaddr(addr string) (unix.Sockaddr, error) {
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	sa := &unix.SockaddrInet4{Port: a.Port}
	copy(sa.Addr[:], a.IP.To4())
	return sa, nil
}

var errStalled = errors.New("the proxy answered nothing for 10 s")
