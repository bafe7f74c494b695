package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform"
)

// probe asks an instance how it is. While it starts it is asked often, so that
// it gets traffic as soon as it can; then at the interval of its process.
type probe struct {
	at        endpoint
	pid       int
	started   time.Time
	health    platform.HealthCheck
	readiness platform.HealthCheck
	healthy   bool // it is known to have started
	// report changes what is known about the instance.
	report func(func(*run))
	// note writes a line about the instance into the app's log.
	note func(format string, args ...any)
}

// endpoint is where an instance listens.
type endpoint struct {
	host string
	port int
}

func (e endpoint) String() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

const (
	firstProbe = 50 * time.Millisecond  // between probes of a starting instance
	slowProbe  = 250 * time.Millisecond // later
	// settleTime is how long an instance without a port has to stay up to
	// count as started.
	settleTime = 500 * time.Millisecond
	// hintAfter is how long an app may take before we look where it listens.
	hintAfter = 5 * time.Second
	// secondTry is how soon a failed liveness check is repeated: one lost
	// probe on a busy machine is no reason to kill.
	secondTry = time.Second

	defaultLivenessInterval  = 30
	defaultReadinessInterval = 5
)

// run works until ctx ends, or nothing is left to find out.
func (p *probe) run(ctx context.Context) {
	isReady := false
	if !p.healthy {
		var started bool
		if started, isReady = p.awaitHealthy(ctx); !started {
			return
		}
	}
	// What was reported ready is watched at once: it may be so no more.
	p.watch(ctx, isReady || p.awaitReady(ctx))
}

// startTimeout is how long a start may take.
func startTimeout(h platform.HealthCheck) time.Duration {
	if h.Timeout <= 0 {
		return platform.DefaultStartTimeout * time.Second
	}
	return time.Duration(h.Timeout) * time.Second
}

// awaitHealthy waits until the instance has started, and returns whether it has
// and is also ready, which it reports in one step.
func (p *probe) awaitHealthy(ctx context.Context) (started, ready bool) {
	begin := p.started
	if begin.IsZero() || time.Since(begin) < 0 {
		begin = time.Now()
	}
	limit := startTimeout(p.health)
	hinted := false
	for wait := firstProbe; ; wait = min(wait+wait/4, slowProbe) {
		var err error
		if p.health.Type == platform.HealthProcess || p.health.Type == "" {
			if time.Since(begin) < settleTime {
				err = errSettling
			}
		} else {
			err = p.check(ctx, p.health)
		}
		if ctx.Err() != nil {
			return false, false
		}
		if err == nil {
			ready = isProcessCheck(p.readiness) || p.check(ctx, p.readiness) == nil
			p.report(func(r *run) { r.healthy, r.ready = true, ready })
			return true, ready
		}
		if time.Since(begin) >= limit {
			why := p.whyNotStarted(err, limit)
			p.report(func(r *run) { r.timedOut = why })
			return false, false
		}
		if !hinted && time.Since(begin) > hintAfter {
			hinted = true
			if ports := p.otherPorts(); ports != "" && p.health.Type == platform.HealthPort {
				p.note("listens on %s, but its port is %d (the variable PORT)", ports, p.at.port)
			}
		}
		if !sleep(ctx, wait) {
			return false, false
		}
	}
}

var errSettling = errors.New("just started")

func isProcessCheck(h platform.HealthCheck) bool {
	return h.Type == platform.HealthProcess || h.Type == ""
}

// whyNotStarted says what is wrong with an instance whose time is up.
func (p *probe) whyNotStarted(err error, limit time.Duration) string {
	if p.health.Type == platform.HealthHTTP && !isRefused(err) {
		return fmt.Sprintf("the app did not answer its health check within %s: %v", limit, err)
	}
	why := fmt.Sprintf("the app did not listen on its port (PORT=%d) within %s", p.at.port, limit)
	if ports := p.otherPorts(); ports != "" {
		why += "; it listens on " + ports
	}
	return why
}

// otherPorts names the ports the instance listens on instead of its own, as
// far as they can be seen.
func (p *probe) otherPorts() string {
	var names []string
	for _, port := range listeningPorts(p.pid) {
		if port == p.at.port {
			return ""
		}
		names = append(names, strconv.Itoa(port))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// awaitReady waits for the readiness check to pass for the first time, but not
// longer than a start may take. It returns whether it does.
func (p *probe) awaitReady(ctx context.Context) bool {
	if isProcessCheck(p.readiness) {
		if p.healthy { // adopted
			p.report(func(r *run) { r.ready = true })
		}
		return true
	}
	begin, limit := time.Now(), startTimeout(p.health)
	for wait := firstProbe; ; wait = min(wait+wait/4, slowProbe) {
		err := p.check(ctx, p.readiness)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			p.report(func(r *run) { r.ready, r.unready = true, "" })
			return true
		}
		if time.Since(begin) >= limit {
			why := fmt.Sprintf("the app did not pass its readiness check within %s: %v", limit, err)
			p.report(func(r *run) { r.ready, r.unready = false, why })
			return false
		}
		if p.healthy && wait == firstProbe {
			p.report(func(r *run) { r.ready = false })
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// watch repeats the checks until ctx ends or the instance is beyond help.
func (p *probe) watch(ctx context.Context, ready bool) {
	interval := func(h platform.HealthCheck, normally int) time.Duration {
		if isProcessCheck(h) {
			return 0
		}
		if h.Interval > 0 {
			normally = h.Interval
		}
		return time.Duration(normally) * time.Second
	}
	live := interval(p.health, defaultLivenessInterval)
	rdy := interval(p.readiness, defaultReadinessInterval)
	if live == 0 && rdy == 0 {
		return
	}
	nextLive, nextReady := time.Now().Add(live), time.Now().Add(rdy)
	for {
		next := nextLive
		if live == 0 || rdy != 0 && nextReady.Before(nextLive) {
			next = nextReady
		}
		if !sleep(ctx, time.Until(next)) {
			return
		}
		if rdy != 0 && !time.Now().Before(nextReady) {
			if now := p.check(ctx, p.readiness) == nil; now != ready && ctx.Err() == nil {
				ready = now
				p.report(func(r *run) { r.ready, r.unready = now, "" })
			}
			nextReady = time.Now().Add(rdy)
		}
		if live != 0 && !time.Now().Before(nextLive) {
			if err := p.checkTwice(ctx, p.health); err != nil {
				p.report(func(r *run) { r.sick = fmt.Sprintf("the health check failed: %v", err) })
				return
			}
			nextLive = time.Now().Add(live)
		}
	}
}

// checkTwice returns the error of two failed checks in a row.
func (p *probe) checkTwice(ctx context.Context, h platform.HealthCheck) error {
	if p.check(ctx, h) == nil {
		return nil
	}
	if !sleep(ctx, secondTry) {
		return nil
	}
	err := p.check(ctx, h)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// check asks once. Its error is for people.
func (p *probe) check(ctx context.Context, h platform.HealthCheck) error {
	limit := time.Second
	if h.InvocationTimeout > 0 {
		limit = time.Duration(h.InvocationTimeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if h.Type == platform.HealthHTTP {
		return p.checkHTTP(ctx, h, limit)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.at.String())
	if err != nil {
		return explainDial(err, p.at, limit)
	}
	return conn.Close()
}

// checkHTTP wants the answer 200. It follows no redirect and uses a connection
// of its own, as a client that comes for the first time would.
func (p *probe) checkHTTP(ctx context.Context, h platform.HealthCheck, limit time.Duration) error {
	path := h.Endpoint
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.at.String()+path, nil)
	if err != nil {
		return fmt.Errorf("the endpoint %q is not a path", h.Endpoint)
	}
	req.Header.Set("User-Agent", "weir-healthcheck")
	req.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return explainDial(err, p.at, limit)
	}
	defer res.Body.Close()
	io.CopyN(io.Discard, res.Body, 1<<16) // only to end politely
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answered %d", path, res.StatusCode)
	}
	return nil
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
