package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// run is a Plan under way.
type run struct {
	l      *Loop
	plan   Plan
	addr   unix.Sockaddr
	result Result

	template []byte // of a request in the clear
	body     []byte // of an answer; its digits differ
	sealed   []byte // the last record sent

	clients []*client // by turns of opening; nil where one could not be replaced
	idle    []*client // with a rate: those that may ask, the longest idle first
	asked   uint32
	done    int // answers, warm-up included

	start    time.Time
	begun    bool
	began    time.Duration
	cpuThen  time.Duration
	nextDue  time.Duration // with a rate: when the next request is to begin
	moved    time.Duration // when done last grew
	doneThen int
}

// maxWrong is how many wrong answers a run counts before it is given up.
const maxWrong = 1000

// manyOpening is how many connections may wait to be accepted.
const manyOpening = 100

// open makes the connections. All but those of a rate ask at once.
func (r *run) open() (err error) {
	l, p := r.l, r.plan
	if r.addr, err = sockaddr(p.Addr); err != nil {
		return err
	}
	r.template, r.body = l.requests[0], l.small[l.smallAt:]
	if p.Large {
		r.template, r.body = l.requests[1], l.large[l.largeAt:]
	}
	if p.Reconnect {
		r.template = l.closing
	}
	if p.Rate > 0 {
		r.result.Latencies = make([]time.Duration, 0, int(float64(p.Rate)*(p.For.Seconds()+1)))
	}
	r.start = time.Now()
	if p.Hold {
		r.begin()
	}
	first := p.Conns
	if p.Hold {
		first = min(first, manyOpening)
	}
	for range first {
		if err := r.connect(); err != nil {
			return err
		}
	}
	r.start, r.moved = time.Now(), 0
	return nil
}

// connect opens one more connection.
func (r *run) connect() error {
	c := &client{r: r}
	r.clients = append(r.clients, c)
	return r.dial(c)
}

// dial gives c a fresh socket and, unless there is a rate, its first request.
func (r *run) dial(c *client) (err error) {
	*c = client{r: r}
	if r.plan.Proto == HTTP1 {
		c.fd, err = r.plainSocket()
	} else {
		c.fd, c.rec, err = tlsSocket(r.plan)
	}
	if err == nil {
		err = r.l.add(c.fd, c, unix.EPOLLIN)
	}
	if err != nil {
		return err
	}
	switch {
	case r.plan.Proto == HTTP2TLS:
		c.h2 = newHTTP2(&r.l.blocks)
		c.askHTTP2()
	case r.plan.Rate > 0:
		r.idle = append(r.idle, c)
	default:
		c.ask(0)
	}
	return nil
}

// plainSocket begins to connect. The addresses of clients take turns where
// many connections are opened, so that ports last.
func (r *run) plainSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if r.plan.Reconnect || r.plan.Hold {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2 + byte(r.asked%16)}})
	}
	if err == nil {
		if err = unix.Connect(fd, r.addr); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connecting to %s: %w", r.plan.Addr, err)
	}
	return fd, nil
}

// replace opens a connection instead of c's.
func (r *run) replace(c *client) {
	r.l.drop(c.fd)
	for i, o := range r.idle {
		if o == c {
			r.idle = append(r.idle[:i], r.idle[i+1:]...)
			break
		}
	}
	if r.result.Wrong > maxWrong {
		return // the run is about to end
	}
	if err := r.dial(c); err != nil {
		r.wrong(err.Error())
	}
}

func (r *run) wrong(why string) {
	if r.result.Wrong++; r.result.Why == "" {
		r.result.Why = why
	}
}

// answered counts an answer and lets the connection go on.
func (r *run) answered(c *client, due time.Duration) {
	r.done++
	if r.begun {
		r.result.Requests++
	}
	switch {
	case r.plan.Hold:
		if len(r.clients) < r.plan.Conns {
			if err := r.connect(); err != nil {
				r.wrong(err.Error())
			}
		}
	case r.plan.Rate > 0:
		if r.begun && len(r.result.Latencies) < cap(r.result.Latencies) {
			r.result.Latencies = append(r.result.Latencies, time.Since(r.start)-due)
		}
		r.idle = append(r.idle, c)
	case r.plan.Reconnect, c.h2 != nil:
		// The proxy closes; or the whole batch is asked again at its end.
	default:
		c.ask(0)
	}
}

// tick does what is due and says how long the loop may wait, or that the run
// is over.
func (r *run) tick() (wait time.Duration, over bool, err error) {
	now := time.Since(r.start)
	if r.result.Wrong > maxWrong {
		return 0, true, fmt.Errorf("more than %d wrong answers: %s", maxWrong, r.result.Why)
	}
	if r.done != r.doneThen {
		r.doneThen, r.moved = r.done, now
	}
	if now-r.moved > stall {
		return 0, true, errStalled
	}
	if r.plan.Hold {
		if r.done >= r.plan.Conns {
			r.end()
			return 0, true, nil
		}
		return 100 * time.Millisecond, false, nil
	}
	if !r.begun && now >= r.plan.WarmUp {
		r.begin()
	}
	until := r.plan.WarmUp + r.plan.For
	if now >= until {
		r.end()
		return 0, true, nil
	}
	if r.plan.Rate > 0 {
		wait = r.askDue(now)
	} else {
		wait = 100 * time.Millisecond
	}
	return min(wait, until-now), false, nil
}

// askDue begins the requests that are due, as far as connections are free, and
// returns when the next one is.
func (r *run) askDue(now time.Duration) time.Duration {
	every := time.Second / time.Duration(r.plan.Rate)
	for r.nextDue <= now {
		if len(r.idle) == 0 {
			return 100 * time.Millisecond // an answer comes first
		}
		c := r.idle[0]
		r.idle = append(r.idle[:0], r.idle[1:]...)
		c.ask(r.nextDue)
		r.nextDue += every
	}
	return r.nextDue - now
}

func (r *run) begin() {
	r.begun = true
	if r.plan.Begin != nil {
		r.plan.Begin()
	}
	r.began, r.cpuThen = time.Since(r.start), threadCPU()
}

func (r *run) end() {
	r.result.Elapsed, r.result.CPU = time.Since(r.start)-r.began, threadCPU()-r.cpuThen
	if r.plan.End != nil {
		r.plan.End()
	}
}

func (r *run) closeAll() {
	for _, c := range r.clients {
		if c.fd > 0 && r.l.socks[c.fd] == socket(c) {
			r.l.drop(c.fd)
		}
	}
}
