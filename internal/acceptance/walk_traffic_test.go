package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// timed is a set of names, each from some moment on and perhaps until another.
// The zero value is empty.
type timed struct {
	until map[string]time.Time // zero: still
	all   bool                 // every name is in it
	allTo time.Time            // every name was, until then
}

func (s *timed) add(names ...string) {
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	for _, n := range names {
		s.until[n] = time.Time{}
	}
}

// set makes names the only ones that are in it from now on.
func (s *timed) set(names ...string) {
	now := time.Now()
	for n, end := range s.until {
		if end.IsZero() {
			s.until[n] = now
		}
	}
	s.add(names...)
	if s.all {
		s.all, s.allTo = false, now
	}
}

// has tells whether name was in it at any time since then.
func (s *timed) has(name string, since time.Time) bool {
	end, ok := s.until[name]
	return s.all || since.Before(s.allTo) || ok && (end.IsZero() || since.Before(end))
}

// oracle knows who may answer requests, and which may go wrong.
type oracle struct {
	mu    sync.Mutex        // guards the following
	hosts map[string]*timed // the apps that may answer for a host
	apps  map[string]*timed // the LABELs of an app that may answer
	errs  map[string]*timed // the errors of the router an app may get
	lost  timed             // "": requests may get lost, for a router was killed
	wrong []string          // what should not have happened, the first of it

	sent, excused, cut, bad atomic.Int64 // cut: lost with a router; bad: told to fail
	wrongs                  atomic.Int64
}

// maxWrong is how many complaints are kept.
const maxWrong = 60

func newOracle(apps []string) *oracle {
	o := &oracle{hosts: map[string]*timed{}, apps: map[string]*timed{}, errs: map[string]*timed{}}
	for _, app := range apps {
		o.hosts[app], o.apps[app], o.errs[app] = &timed{}, &timed{}, &timed{}
		o.hosts[app].add(app)
	}
	return o
}

// expect notes what an action may change, before it begins.
func (o *oracle) expect(a action) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, app := range a.apps {
		if a.push != "" {
			o.apps[app].add(a.push)
		}
		o.apps[app].all = o.apps[app].all || a.anybody
		if a.excuse != "" {
			o.errs[app].add(a.excuse)
		}
	}
	for _, app := range a.routes {
		o.hosts[home].add(app)
		o.hosts[app].add(a.routes...)
	}
}

func (o *oracle) complain(format string, args ...any) {
	o.wrongs.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wrong) < maxWrong {
		o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
	}
}

// reply is what came of a request.
type reply struct {
	status     int
	router     string // X-Cf-RouterError
	body       string
	err        error
	host, kind string
	began      time.Time
}

func (r reply) String() string {
	const at = "15:04:05.000"
	s := fmt.Sprintf("%s to %s for %s, %s", r.began.Format(at), time.Now().Format(at), r.host, r.kind)
	if r.err != nil {
		return s + ": " + r.err.Error()
	}
	return fmt.Sprintf("%s: %d %s %q", s, r.status, r.router, tailOf(r.body, 200))
}

// judge counts a reply, and complains of one that should not have been.
func (o *oracle) judge(r reply) {
	o.sent.Add(1)
	if why := o.find(r); why != "" {
		o.complain("%s: %s", why, r)
	}
}

// find returns what is wrong with a reply, "" for nothing.
func (o *oracle) find(r reply) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.err != nil && o.lost.has("", r.began):
		o.cut.Add(1)
		return ""
	case r.err != nil:
		return "failed"
	case r.router != "":
		for app, errs := range o.errs {
			if o.hosts[r.host].has(app, r.began) && errs.has(r.router, r.began) {
				o.excused.Add(1)
				return ""
			}
		}
		return "failed"
	}
	label, failed := strings.CutSuffix(strings.TrimSpace(r.body), " failed")
	app, _, ok := strings.Cut(label, "/")
	switch {
	case !ok || o.apps[app] == nil || failed != (r.status == http.StatusInternalServerError):
		return "nobody answers like that"
	case !o.hosts[r.host].has(app, r.began):
		return "answered by another app"
	case !o.apps[app].has(label, r.began):
		return "answered by a version without a share"
	case failed && !strings.HasSuffix(label, "-bad"):
		return "failed"
	case failed:
		o.bad.Add(1)
	}
	return ""
}

// visit sends requests to all hosts until ctx ends: over connections that stay,
// over new ones and over HTTP/2, and such as must not be repeated. It returns
// how many clients there are; each has one request in flight at most.
func (s *server) visit(stop <-chan struct{}, all *sync.WaitGroup, o *oracle, hosts []string) (clients int) {
	const every, slow = 50 * time.Millisecond, 20
	for _, host := range hosts {
		for _, kind := range []string{"kept", "new", "POST", "HTTP/2", "HTTP/2 POST"} {
			c := s.client(kind != "new")
			if strings.HasPrefix(kind, "HTTP/2") {
				c = s.client2()
			}
			c.Timeout = 90 * time.Second
			clients++
			all.Go(func() {
				defer c.CloseIdleConnections()
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					case <-time.After(every):
					}
					path := "/"
					if n%slow == 0 {
						path = "/slow?for=300ms"
					}
					o.judge(ask(c, kind, host, path))
				}
			})
		}
	}
	return clients
}

// ask makes one request.
func ask(c *http.Client, kind, host, path string) reply {
	r := reply{host: host, kind: kind + " " + path, began: time.Now()}
	method, body := "GET", io.Reader(nil)
	if strings.HasSuffix(kind, "POST") {
		method, body = "POST", io.MultiReader(strings.NewReader("x")) // cannot be sent twice
	}
	req, err := http.NewRequest(method, "http://"+host+".apps.localhost"+path, body)
	if err != nil {
		r.err = err
		return r
	}
	resp, err := c.Do(req)
	if err != nil {
		r.err = err
		return r
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r.status, r.router, r.body, r.err = resp.StatusCode, resp.Header.Get("X-Cf-RouterError"), string(b), err
	return r
}
