package acceptance

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests to one URL at a fixed rate, whatever the answers take,
// and keeps what went wrong.
type load struct {
	stopping chan struct{}
	wg       sync.WaitGroup
	sent     atomic.Int64
	failed   atomic.Int64

	mu     sync.Mutex // guards the following
	errors map[string]*failures
	bodies map[string]int
}

// failures are those for one reason.
type failures struct {
	n           int
	first, last time.Time
}

// maxReasons is how many reasons a load tells apart.
const maxReasons = 20

// maxInFlight bounds a load that meets a stuck server.
const maxInFlight = 512

// maxLate is what a load makes up for if it could not send.
const maxLate = 50 * time.Millisecond

// startLoad begins sending GET url, perSecond times a second, until stop.
// Every second request uses a connection of its own.
func (s *server) startLoad(url string, perSecond int) *load {
	return startLoadOf(url, perSecond, s.client(true), s.client(false))
}

// startLoadOf is startLoad by the given clients in turn.
func startLoadOf(url string, perSecond int, clients ...*http.Client) *load {
	l := &load{stopping: make(chan struct{}), errors: map[string]*failures{}, bodies: map[string]int{}}
	slots := make(chan struct{}, maxInFlight)
	l.wg.Go(func() {
		every := time.Second / time.Duration(perSecond)
		tick := time.NewTicker(every)
		defer tick.Stop()
		due := time.Now()
		for n := 0; ; {
			select {
			case <-l.stopping:
				return
			case <-tick.C:
			}
			// A ticker leaves out what comes too late; what a stalled client
			// did not send for long, the server need not make up for.
			now := time.Now()
			if now.Sub(due) > maxLate {
				due = now.Add(-maxLate)
			}
			for ; due.Before(now); due = due.Add(every) {
				select {
				case slots <- struct{}{}:
				default:
					l.fail("the server is stuck: too many requests in flight")
					continue
				}
				c := clients[n%len(clients)]
				n++
				l.wg.Go(func() { l.one(c, url); <-slots })
			}
		}
	})
	return l
}

func (l *load) one(c *http.Client, url string) {
	l.sent.Add(1)
	resp, err := c.Get(url)
	if err != nil {
		l.fail(err.Error())
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		l.fail(err.Error())
	case resp.StatusCode != http.StatusOK:
		l.fail(fmt.Sprintf("%s %s: %s", resp.Status, resp.Header.Get("X-Cf-RouterError"), strings.TrimSpace(string(body))))
	default:
		l.mu.Lock()
		l.bodies[string(body)]++
		l.mu.Unlock()
	}
}

func (l *load) fail(why string) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.errors[why] == nil && len(l.errors) >= maxReasons {
		why = "others"
	}
	now := time.Now()
	if l.errors[why] == nil {
		l.errors[why] = &failures{first: now}
	}
	l.errors[why].n++
	l.errors[why].last = now
}

// stop ends the load and returns how many requests were sent, how many failed
// and how often for which reason, and from when to when.
func (l *load) stop() (sent, failed int64, why string) {
	close(l.stopping)
	l.wg.Wait()
	for _, reason := range slices.Sorted(maps.Keys(l.errors)) {
		const at = "15:04:05.000"
		f := l.errors[reason]
		why += fmt.Sprintf("%d from %s to %s: %s\n", f.n, f.first.Format(at), f.last.Format(at), reason)
	}
	return l.sent.Load(), l.failed.Load(), why
}
