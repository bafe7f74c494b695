package release

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// stage is an app with versions, traffic and a clock that runs a second with
// every look at the traffic. It stands for the rollout engine and the router.
// A second of it is over at once, so the clock runs only while the test waits for
// what is to come of it, and stands while somebody outside is asked, for real.
type stage struct {
	t     *testing.T
	store *store.Store
	app   platform.App
	main  string // GUID

	mu       sync.Mutex
	now      time.Time
	versions []platform.VersionStatus
	split    uint64
	table    uint64
	counted  map[uint64]map[string]*router.VersionEvidence
	bad      map[uint64][]router.BadEvent
	perLook  int
	inRing   int                      // requests a look that match rules send to the candidate
	rates    map[string]float64       // of failure, by label
	marks    map[string]float64       // of marked answers, by label
	slower   map[string]time.Duration // by label: how much longer each request takes
	cold     map[string]int           // by label: how many more requests take a second longer
	history  []int                    // weights of the candidate, in order
	modes    []string                 // of the candidate, in order
	starting bool                     // new versions do not get ready
	scaling  bool                     // more instances do not get ready
	router   string
	gone     uint64 // requests that routers counted that were killed
	lost     uint64 // of those, nobody was told of
	away     bool   // the platform is dead: nobody counts
	leave    int    // how many seconds the clock may still run
	outside  int    // requests to somebody outside that are under way
	lines    []string
	path     string // of the store
	compared uint64 // answers of the shadow
	differs  []string
	checked  []string // versions that were to give way to one that was checked
	looked   int      // how often a conductor looked at the versions

	// sizes are what the stable version was reduced to, in order; with regrowing
	// instances that it is given again do not get ready.
	sizes     []int
	regrowing bool

	// A change of shares meets the test before and after it is committed,
	// unless these are nil: it sends, and waits until it may go on.
	before, after chan struct{}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "weir.db")
	s, err := store.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	g := &stage{
		t: t, store: s, path: path, now: start, perLook: 1000, table: 100, router: "r1",
		counted: map[uint64]map[string]*router.VersionEvidence{}, bad: map[uint64][]router.BadEvent{}, rates: map[string]float64{"v1": 0.01, "v2": 0.01},
	}
	t.Cleanup(func() { g.store.Close() })
	org := platform.Organization{Resource: platform.NewResource(start), Name: "o"}
	space := platform.Space{Resource: platform.NewResource(start), Name: "s", OrganizationGUID: org.GUID}
	g.app = platform.App{Resource: platform.NewResource(start), Name: "web", SpaceGUID: space.GUID, State: platform.AppStarted}
	for _, err := range []error{s.InsertOrganization(ctx, org), s.InsertSpace(ctx, space), s.InsertApp(ctx, g.app)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	main := platform.Version{
		Resource: platform.NewResource(start), AppGUID: g.app.GUID, Label: "v1", Labelled: true, Main: true, Mode: platform.ModeLive,
		Weight: 100, Instances: 2, State: platform.AppStarted,
	}
	if err := s.InsertVersion(ctx, main); err != nil {
		t.Fatal(err)
	}
	g.main = main.GUID
	g.versions = []platform.VersionStatus{{Version: main, Wanted: 2, Running: 2, Ready: 2, Health: platform.HealthHealthy}}
	return g
}

// engine returns a running engine and what stops it as a shutdown does.
func (g *stage) engine() (*Engine, func()) {
	g.t.Helper()
	e := New(Config{
		Store: g.store, Versions: g, Evidence: g, Now: g.clock, Poll: time.Millisecond,
		Compared: func(context.Context, string, string) (uint64, []string, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.compared, g.differs, nil
		},
		Line: func(_, text string) { g.mu.Lock(); g.lines = append(g.lines, text); g.mu.Unlock() },
		HTTP: &http.Client{Transport: outside{g}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
	})
	g.t.Cleanup(stop)
	for { // until rollouts can be conducted
		e.mu.Lock()
		running := e.run != nil
		e.mu.Unlock()
		if running {
			return e, stop
		}
		time.Sleep(time.Millisecond)
	}
}

func (g *stage) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

// outside asks others while the clock of its stage stands.
type outside struct{ *stage }

func (o outside) RoundTrip(req *http.Request) (*http.Response, error) {
	o.set(func() { o.outside++ })
	defer o.set(func() { o.outside-- })
	return http.DefaultTransport.RoundTrip(req)
}

// passing lets the clock run until what it returns is called.
func (g *stage) passing() (stand func()) {
	g.set(func() { g.leave = math.MaxInt })
	return func() { g.set(func() { g.leave = 0 }) }
}

// wait lets the clock run until something is so.
func (g *stage) wait(what string, is func() bool) {
	g.t.Helper()
	defer g.passing()()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("a minute passed without %s", what)
		}
	}
}

// start begins a rollout of v2 with a plan.
func (g *stage) start(e *Engine, plan string) platform.Rollout {
	g.t.Helper()
	p, err := ParsePlan([]byte(plan))
	if err != nil {
		g.t.Fatal(err)
	}
	row, err := e.Start(g.t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v2", Plan: p, Replace: true})
	if err != nil {
		g.t.Fatal(err)
	}
	return row
}

// until waits until the rollout is in one of the states.
func (g *stage) until(guid string, states ...platform.RolloutState) platform.Rollout {
	g.t.Helper()
	defer g.passing()()
	var row platform.Rollout
	ctx, cancel := context.WithTimeout(g.t.Context(), 60*time.Second)
	defer cancel()
	err := g.store.Wait(ctx, func(ctx context.Context) (bool, error) {
		var err error
		if row, err = g.store.Rollout(ctx, guid); err != nil {
			return false, err
		}
		for _, s := range states {
			if row.State == s {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		g.t.Fatalf("waiting for %v, it is %s (%s) at step %d: %v", states, row.State, row.Reason, row.Step, err)
	}
	return row
}

// await waits until a rollout's progress is as it should be.
func (g *stage) await(guid string, is func(Progress) bool) {
	g.t.Helper()
	defer g.passing()()
	ctx, cancel := context.WithTimeout(g.t.Context(), 60*time.Second)
	defer cancel()
	err := g.store.Wait(ctx, func(ctx context.Context) (bool, error) {
		row, err := g.store.Rollout(ctx, guid)
		if err != nil {
			return false, err
		}
		p, err := readProgress(row.Progress)
		return err == nil && is(p), err
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *stage) find(match func(*platform.VersionStatus) bool) *platform.VersionStatus {
	for i := range g.versions {
		if match(&g.versions[i]) {
			return &g.versions[i]
		}
	}
	return nil
}

func byGUID(guid string) func(*platform.VersionStatus) bool {
	return func(v *platform.VersionStatus) bool { return v.GUID == guid }
}

func byLabel(label string) func(*platform.VersionStatus) bool {
	return func(v *platform.VersionStatus) bool { return v.Label == label }
}

// set changes the stage while it plays.
func (g *stage) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// weights returns the weights of v1 and v2; -1 for one that is not there.
func (g *stage) weights() (v1, v2 int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v1, v2 = -1, -1
	if v := g.find(byLabel("v1")); v != nil {
		v1 = v.Weight
	}
	if v := g.find(byLabel("v2")); v != nil {
		v2 = v.Weight
	}
	return v1, v2
}

func (g *stage) StartVersion(ctx context.Context, _ platform.Actor, req platform.VersionRequest, also func(*store.Tx, platform.Version) error) (platform.Version, error) {
	if req.VersionGUID != "" {
		g.mu.Lock()
		v := *g.find(byGUID(req.VersionGUID))
		g.mu.Unlock()
		return v.Version, g.store.Tx(ctx, func(tx *store.Tx) error { return also(tx, v.Version) })
	}
	v := platform.Version{
		Resource: platform.NewResource(g.clock()), AppGUID: req.AppGUID, Label: req.Label, Labelled: true, Mode: platform.ModeLive,
		Instances: *req.Instances, State: platform.AppStarted, DeploymentGUID: platform.NewGUID(),
	}
	if err := g.store.Tx(ctx, func(tx *store.Tx) error { return also(tx, v) }); err != nil {
		return v, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := g.find(byLabel(req.Label)); old != nil {
		old.Label += "-old"
	}
	s := platform.VersionStatus{Version: v, Wanted: v.Instances, Running: v.Instances, Ready: v.Instances}
	if g.starting {
		s.Ready = 0
	}
	g.versions = append(g.versions, s)
	return v, nil
}

func (g *stage) CheckVersion(_ context.Context, _ platform.Actor, req platform.VersionRequest, leaving ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checked = append(g.checked, leaving...)
	if req.Label == "" {
		return nil
	}
	if old := g.find(byLabel(req.Label)); old != nil && !req.Replace {
		return &platform.Error{Kind: platform.KindConflict, Msg: "there is one"}
	}
	return platform.CheckLabel(req.Label)
}

func (g *stage) Versions(context.Context, string) ([]platform.VersionStatus, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looked++
	return append([]platform.VersionStatus(nil), g.versions...), nil
}

func (g *stage) SetShares(ctx context.Context, _ platform.Actor, _ string, shares map[string]int, opt platform.SplitOptions, also func(*store.Tx, uint64, uint64) error) (platform.Change, error) {
	return g.change(ctx, also, func() error {
		if !opt.Keep {
			return fmt.Errorf("a rollout must keep the main version")
		}
		for guid, percent := range opt.Shadow {
			v := g.find(byGUID(guid))
			if v == nil {
				return platform.NotFound("Version")
			}
			mode := platform.ModeLive
			if percent > 0 {
				mode = platform.ModeShadow
			}
			if v.Mode != mode {
				g.modes = append(g.modes, mode)
			}
			v.Mode, v.ShadowPercent = mode, percent
		}
		for guid, w := range shares {
			v := g.find(byGUID(guid))
			if v == nil {
				return platform.NotFound("Version")
			}
			v.Weight = w
			if m, ok := opt.Match[guid]; ok {
				v.Match = m
			}
			if guid != g.main {
				g.history = append(g.history, w)
			}
		}
		return nil
	})
}

func (g *stage) Promote(ctx context.Context, _ platform.Actor, _, version string, _ platform.SplitOptions, also func(*store.Tx, uint64, uint64) error) (platform.Change, error) {
	return g.change(ctx, also, func() error {
		for i := range g.versions {
			v := &g.versions[i]
			if v.Main && v.Reduced > 0 { // it runs on with what it has
				v.Instances, v.Reduced = v.Reduced, 0
			}
			v.Main, v.Weight = v.GUID == version, 0
			if v.Main {
				v.Weight = 100
			}
		}
		g.main = version
		return nil
	})
}

// change alters the versions with what also writes, or not at all.
func (g *stage) change(ctx context.Context, also func(*store.Tx, uint64, uint64) error, alter func() error) (platform.Change, error) {
	g.mu.Lock()
	split, table, before, after := g.split+1, g.table+1, g.before, g.after
	g.mu.Unlock()
	meet(before)
	err := g.store.Tx(ctx, func(tx *store.Tx) error { return also(tx, split, table) })
	if err != nil {
		return platform.Change{}, err
	}
	meet(after)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.split, g.table = split, table
	return platform.Change{Table: table}, alter()
}

// meet lets the test know that something is about to happen, and waits for its
// leave.
func meet(c chan struct{}) {
	if c != nil {
		c <- struct{}{}
		<-c
	}
}

func (g *stage) ScaleVersion(_ context.Context, _ platform.Actor, version string, instances int) (platform.Version, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.find(byGUID(version))
	v.Instances, v.Wanted = instances, instances
	if !g.scaling {
		v.Ready = instances
	}
	return v.Version, nil
}

func (g *stage) ReduceVersion(ctx context.Context, _ platform.Actor, version string, n int, also func(*store.Tx) error) (platform.Version, error) {
	if err := g.store.Tx(ctx, func(tx *store.Tx) error { return also(tx) }); err != nil {
		return platform.Version{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.find(byGUID(version))
	v.Reduced, v.Wanted = n, v.Instances
	if n > 0 {
		v.Wanted = min(n, v.Instances)
	}
	if v.Ready = min(v.Ready, v.Wanted); !g.regrowing {
		v.Ready = v.Wanted
	}
	g.sizes = append(g.sizes, n)
	return v.Version, nil
}

func (g *stage) DeleteVersion(_ context.Context, _ platform.Actor, version string, _ bool) (platform.Version, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, v := range g.versions {
		if v.GUID == version && !v.Main {
			g.versions = append(g.versions[:i], g.versions[i+1:]...)
			return v.Version, nil
		}
	}
	return platform.Version{}, platform.NotFound("Version")
}

// Evidence sends a second of requests, if the clock may run for one, and tells
// what was counted of all.
func (g *stage) Evidence(_ context.Context, q router.EvidenceQuery) (router.Evidence, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		return router.Evidence{}, &platform.Error{Kind: platform.KindUnavailable, Msg: "the platform is dead"}
	}
	if g.leave > 0 && g.outside == 0 {
		g.leave--
		g.now = g.now.Add(time.Second)
		g.send()
	}
	ev := router.Evidence{Router: g.router}
	for _, c := range q.After {
		s := router.SplitEvidence{App: g.app.GUID, Split: c.Split}
		for _, v := range g.counted[c.Split] {
			s.Versions = append(s.Versions, *v)
		}
		for _, b := range g.bad[c.Split] {
			if b.Seq > c.Seq {
				s.Bad = append(s.Bad, b)
			}
		}
		ev.Splits = append(ev.Splits, s)
	}
	return ev, nil
}

// answered returns how many requests were counted under the shares of the
// rollout.
func (g *stage) answered() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone + g.countedNow()
}

func (g *stage) countedNow() (n uint64) {
	for split, versions := range g.counted {
		if split == 0 {
			continue // before the rollout
		}
		for _, v := range versions {
			n += v.Requests
		}
	}
	return n
}

// newRouter lets the router be killed with all that it had counted.
func (g *stage) newRouter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone += g.countedNow()
	clear(g.counted)
	clear(g.bad)
	g.router += "+"
}

// send counts perLook requests, spread exactly.
func (g *stage) send() {
	sum := 0
	for _, v := range g.versions {
		sum += v.Share()
	}
	if g.counted[g.split] == nil {
		g.counted[g.split] = map[string]*router.VersionEvidence{}
	}
	for _, v := range g.versions {
		if v.Share() == 0 {
			g.sendRing(&v)
			continue
		}
		c := g.counted[g.split][v.GUID]
		if c == nil {
			c = &router.VersionEvidence{Version: v.GUID, Latency: make([]uint32, judge.Buckets)}
			g.counted[g.split][v.GUID] = c
		}
		n := g.perLook * v.Share() / sum
		before := c.Bad
		c.Requests += uint64(n)
		c.Bad = uint64(float64(c.Requests) * g.rates[v.Label])
		for i := range n {
			took := time.Duration(5+i%20)*time.Millisecond + g.slower[v.Label]
			if g.cold[v.Label] > 0 {
				g.cold[v.Label]--
				took += time.Second
			}
			c.Latency[judge.Bucket(took)]++
		}
		c.Clients = min(c.Requests, 500)
		c.Endpoints = []byte{0x0f}
		for range c.Bad - before {
			g.bad[g.split] = append(g.bad[g.split], router.BadEvent{
				Seq: uint64(len(g.bad[g.split]) + 1), Version: v.GUID, RequestID: fmt.Sprintf("id-%d", len(g.bad[g.split])),
				Method: "GET", Path: "/cart", Status: 500, At: g.now,
			})
		}
		g.mark(&v, c)
	}
}

// sendRing counts the requests of those who are led to a version by a rule.
func (g *stage) sendRing(v *platform.VersionStatus) {
	if len(v.Match) == 0 || g.inRing == 0 {
		return
	}
	c := g.counted[g.split][v.GUID]
	if c == nil {
		c = &router.VersionEvidence{Version: v.GUID}
		g.counted[g.split][v.GUID] = c
	}
	before := c.MatchedBad
	c.Matched += uint64(g.inRing)
	c.MatchedBad = uint64(float64(c.Matched) * g.rates[v.Label])
	c.Clients = min(c.Matched, 3)
	for range c.MatchedBad - before {
		g.bad[g.split] = append(g.bad[g.split], router.BadEvent{
			Seq: uint64(len(g.bad[g.split]) + 1), Version: v.GUID, Matched: true, Method: "GET", Path: "/ring", Status: 500, At: g.now,
		})
	}
}
