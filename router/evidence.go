package router

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/judge"
)

// Evidence is what the router has counted about the versions of apps whose
// traffic is split, for somebody who judges them. A request counts for the
// version it was assigned to by the shares alone, whatever came of it later;
// those that a match rule sent there are counted apart, since nothing can be
// compared with them. One that a header or a client chose a version for does
// not count, nor does one whose client went away.
type Evidence struct {
	Router string          `json:"router"` // another one: all counts began anew
	Splits []SplitEvidence `json:"splits"`
}

// SplitEvidence is what was counted under one split of an app, that is, under
// one set of shares.
type SplitEvidence struct {
	App      string            `json:"app"` // GUID
	Split    uint64            `json:"split"`
	Versions []VersionEvidence `json:"versions"`
	// Bad are the bad events of all versions after the one asked for, the
	// oldest first; of those the newest 1024 are kept.
	Bad []BadEvent `json:"bad,omitempty"`
}

// VersionEvidence are the counts of one version, since the router first saw
// the split.
type VersionEvidence struct {
	Version  string    `json:"version"`  // GUID
	Requests uint64    `json:"requests"` // assigned and ended
	Bad      uint64    `json:"bad"`
	Status   [6]uint64 `json:"status"`             // other, 1xx … 5xx, as the client saw them
	Failover uint64    `json:"failover,omitempty"` // assigned here, answered by another version
	// Marked are the requests whose answer the version marked with an event that
	// counts, whether they were bad or not.
	Marked uint64 `json:"marked,omitempty"`
	// Matched are the requests that a match rule sent here, and MatchedBad those
	// of them that were bad, MatchedMarked those that were marked; they are in
	// none of the other counts but Clients and Endpoints.
	Matched       uint64 `json:"matched,omitempty"`
	MatchedBad    uint64 `json:"matched_bad,omitempty"`
	MatchedMarked uint64 `json:"matched_marked,omitempty"`
	// Latency counts times to the response head of requests that were not
	// bad, in the buckets of package judge; zeros at the end are left out. On
	// sticky routes only the first request of a client counts.
	Latency   []uint32 `json:"latency,omitempty"`
	Clients   uint64   `json:"clients"`             // an estimate
	Endpoints []byte   `json:"endpoints,omitempty"` // bits, one for each hash of method and path
}

// BadEvent is a request that a version failed: status 5xx, an error of the
// router's about the instance, or an answer cut off; or, with Event, a request
// whose answer it marked. One that was both is two of them.
type BadEvent struct {
	Seq       uint64    `json:"seq"` // from 1
	Version   string    `json:"version"`
	Client    uint64    `json:"client"` // hash of position, credentials or address
	RequestID string    `json:"request_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Status    int       `json:"status"`
	Reason    string    `json:"reason,omitempty"`
	Matched   bool      `json:"matched,omitempty"` // a match rule sent it there
	Event     string    `json:"event,omitempty"`   // of a marked answer
	At        time.Time `json:"at"`
}

// EvidenceQuery asks for evidence.
type EvidenceQuery struct {
	Apps []string `json:"apps,omitempty"` // nil: all
	// After are the last events known: what is not named has none.
	After []EvidenceCursor `json:"after,omitempty"`
	// WaitMS is how long to wait, in milliseconds, if there is no bad event
	// after these; at most 30 s.
	WaitMS int64 `json:"wait_ms,omitempty"`
	// For is the GUID of a version: bad events of others do not end the wait.
	For string `json:"for,omitempty"`
}

// EvidenceCursor is the last bad event somebody knows.
type EvidenceCursor struct {
	App   string `json:"app"`
	Split uint64 `json:"split"`
	Seq   uint64 `json:"seq"`
}

const (
	maxBadEvents    = 1024
	maxSplits       = 4 // of an app
	splitGrace      = 10 * time.Minute
	maxEvidenceWait = 30 * time.Second
	clientBits      = 4096
	endpointBits    = 1024
	seenBits        = 1 << 16
)

type splitKey struct {
	app   string
	split uint64
}

// evidence counts for those who judge.
type evidence struct {
	id string
	r  *Router

	mu     sync.Mutex // guards what follows
	splits map[splitKey]*split
	// bad is closed, and replaced, at a bad event that somebody waits for.
	bad     chan struct{}
	awaited map[string]int // how many wait, by EvidenceQuery.For
	waiting atomic.Int32
}

// split is one split of an app.
type split struct {
	key      splitKey
	counting *Counting
	seen     [seenBits / 64]atomic.Uint64 // clients of sticky routes

	refs int   // routes that lead to it; guarded by evidence.mu
	left int64 // when refs became 0, on the router's clock

	mu   sync.Mutex // guards what follows
	arms []*arm
	seq  uint64
	ring []BadEvent // the newest, the oldest at seq mod maxBadEvents once full
}

// arm counts for one version under one split.
type arm struct {
	split   *split
	version string

	requests, bad, marked, failover    atomic.Uint64
	matched, matchedBad, matchedMarked atomic.Uint64
	status                             [6]atomic.Uint64
	latency                            [judge.Buckets]atomic.Uint32
	clients                            [clientBits / 64]atomic.Uint64
	endpoints                          [endpointBits / 64]atomic.Uint64
}

func newEvidence(r *Router) *evidence {
	var id [36]byte
	newRequestID(&id)
	return &evidence{id: string(id[:]), r: r, splits: map[splitKey]*split{}, bad: make(chan struct{}), awaited: map[string]int{}}
}

// attach gives the destinations of a new route their arms: those of an app
// with several versions, all of whose shares are served. Otherwise the shares
// in force are not those of the split.
func (e *evidence) attach(rt *route) {
	for i := range rt.dests {
		d := &rt.dests[i]
		if d.src.Split == 0 || d.arm != nil || !rt.isSplit(d.src) {
			continue
		}
		s := e.acquire(splitKey{d.src.AppGUID, d.src.Split}, d.src.Counting)
		for n := range rt.dests {
			o := &rt.dests[n]
			if o.src.AppGUID == d.src.AppGUID && o.src.Split == d.src.Split && o.src.Shadow == 0 {
				o.arm = s.arm(o.src.Version)
			}
		}
	}
}

// isSplit reports whether an app has several versions here and their shares
// are in force as the split says; one of them may have all there is.
func (r *route) isSplit(of *Destination) bool {
	several := false
	for i := range r.dests {
		d := &r.dests[i]
		if d.src.AppGUID != of.AppGUID || d.src.Shadow != 0 {
			continue
		}
		if d.src.Weight > 0 && (d.src.Split != of.Split || len(d.backends) == 0) {
			return false
		}
		several = several || d.src.Version != of.Version && len(d.backends) > 0
	}
	return several && of.Weight > 0
}

func (e *evidence) acquire(key splitKey, counting *Counting) *split {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.splits[key]
	if s == nil {
		s = &split{key: key, counting: counting}
		e.splits[key] = s
		e.forgetLocked(key.app)
	}
	s.refs++
	return s
}

// forgetLocked drops the oldest splits of an app.
func (e *evidence) forgetLocked(app string) {
	var of []*split
	for k, s := range e.splits {
		if k.app == app {
			of = append(of, s)
		}
	}
	slices.SortFunc(of, func(a, b *split) int { return int(int64(b.key.split - a.key.split)) })
	for i, s := range of {
		if i >= maxSplits && s.refs == 0 {
			delete(e.splits, s.key)
		}
	}
}

// detach gives back what attach took.
func (e *evidence) detach(rt *route) {
	var done []*split
	for i := range rt.dests {
		d := &rt.dests[i]
		if d.arm == nil || slices.Contains(done, d.arm.split) {
			continue
		}
		s := d.arm.split
		done = append(done, s)
		e.mu.Lock()
		if s.refs--; s.refs == 0 {
			s.left = e.r.now()
		}
		e.mu.Unlock()
	}
}

func (s *split) arm(version string) *arm {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.arms {
		if a.version == version {
			return a
		}
	}
	a := &arm{split: s, version: version}
	s.arms = append(s.arms, a)
	return a
}

// count takes up a request that ended.
func (e *evidence) count(t *trip, why reason) {
	first := t.made.first
	if first == nil || first.arm == nil || t.attempts == 0 {
		return
	}
	switch t.made.how {
	case byCounter, bySticky, byMatch:
	default:
		return
	}
	elsewhere := t.dest != nil && !t.dest.like(first)
	if why == reasonClientGone && !t.made.blamed {
		return
	}
	a := first.arm
	counting := a.split.counting
	if counting.excludes(t.ask.path) {
		return
	}
	bad := t.made.blamed || elsewhere || t.rec.status >= 500 || why == reasonTruncated || counting.isBad(t.rec.status)
	marked := t.made.event != ""
	client := t.client()
	setBit(a.clients[:], client)
	setBit(a.endpoints[:], endpoint(t.ask.method, t.ask.path))
	if t.made.how == byMatch {
		a.matched.Add(1)
		if bad {
			a.matchedBad.Add(1)
			e.note(a, t, why, client, "")
		}
		if marked {
			a.matchedMarked.Add(1)
			e.note(a, t, why, client, t.made.event)
		}
		return
	}
	a.requests.Add(1)
	a.status[statusClass(t.rec.status)].Add(1)
	if elsewhere {
		a.failover.Add(1)
	}
	if marked {
		a.marked.Add(1)
		e.note(a, t, why, client, t.made.event)
	}
	if bad {
		a.bad.Add(1)
		e.note(a, t, why, client, "")
		return
	}
	if t.made.how == bySticky && !setBit(a.split.seen[:], client) {
		return
	}
	if t.made.headAt > t.lastSent {
		a.latency[judge.Bucket(time.Duration(t.made.headAt-t.lastSent))].Add(1)
	}
}

// client returns a hash of who the client is: its position, its credentials
// or its address.
func (t *trip) client() uint64 {
	if t.made.how == bySticky && t.rt != nil && t.rt.rules != nil {
		s := &t.rt.rules.sticky
		if t.made.fresh {
			return s.place(t.made.position)
		}
		if u, ok := s.position(&t.ask); ok {
			return u
		}
	}
	if v := t.ask.field("authorization"); v != nil {
		return hashText(v, clientSeed)
	}
	return hashAddr(t.ask.client, clientSeed)
}

// note keeps a bad event and wakes who waits for one; event is that of a marked
// answer.
func (e *evidence) note(a *arm, t *trip, why reason, client uint64, event string) {
	ev := BadEvent{
		Version: a.version, Client: client, Status: t.rec.status, At: time.Now(), Matched: t.made.how == byMatch,
		RequestID: strings.Clone(t.rec.requestID), Method: strings.Clone(t.ask.method),
		Path: strings.Clone(t.ask.path[:min(len(t.ask.path), 256)]), Event: event,
	}
	if why != reasonNone {
		ev.Reason = why.String()
	}
	s := a.split
	s.mu.Lock()
	s.seq++
	ev.Seq = s.seq
	if len(s.ring) < maxBadEvents {
		s.ring = append(s.ring, ev)
	} else {
		s.ring[(s.seq-1)%maxBadEvents] = ev
	}
	s.mu.Unlock()
	if e.waiting.Load() > 0 {
		e.mu.Lock()
		if e.awaited[""] > 0 || e.awaited[a.version] > 0 {
			close(e.bad)
			e.bad = make(chan struct{})
		}
		e.mu.Unlock()
	}
}

// setBit sets the bit of a hash and reports whether it was not set before.
func setBit(bits []atomic.Uint64, hash uint64) bool {
	word := &bits[hash>>6%uint64(len(bits))]
	bit := uint64(1) << (hash & 63)
	if word.Load()&bit != 0 {
		return false
	}
	return word.Or(bit)&bit == 0
}

// endpoint hashes method and path; segments that look like an identifier are
// all the same to it.
func endpoint(method, path string) uint64 {
	h := hashText(method, 0)
	for path != "" {
		segment := path[1:]
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment = segment[:i]
		}
		path = path[len(segment)+1:]
		if isIdentifier(segment) {
			segment = "*"
		}
		h = hashText(segment, h)
	}
	return h
}

// isIdentifier reports whether a segment is a number, or a long run of hex
// digits and dashes.
func isIdentifier(s string) bool {
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case isHex(c), c == '-':
		default:
			return false
		}
	}
	return s != "" && (digits == len(s) || digits > 0 && len(s) >= 16)
}

// ask answers a query, waiting for a bad event if there is none yet.
func (e *evidence) ask(ctx context.Context, q EvidenceQuery) Evidence {
	after := make(map[splitKey]uint64, len(q.After))
	for _, c := range q.After {
		after[splitKey{c.App, c.Split}] = c.Seq
	}
	wait := min(time.Duration(q.WaitMS)*time.Millisecond, maxEvidenceWait)
	if wait > 0 {
		e.await(q.For, 1)
		defer e.await(q.For, -1)
	}
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	for {
		e.mu.Lock()
		bad := e.bad
		e.mu.Unlock()
		out, news := e.collect(&q, after)
		if news || wait <= 0 {
			return out
		}
		select {
		case <-bad:
		case <-timer.C:
			wait = 0
		case <-ctx.Done():
			wait = 0
		}
	}
}

// await notes that one more, or one less, waits for bad events of a version.
func (e *evidence) await(version string, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.awaited[version] += n; e.awaited[version] == 0 {
		delete(e.awaited, version)
	}
	e.waiting.Add(int32(n))
}

// collect returns the evidence, and whether it holds a new bad event that is
// waited for.
func (e *evidence) collect(q *EvidenceQuery, after map[splitKey]uint64) (out Evidence, news bool) {
	out = Evidence{Router: e.id, Splits: []SplitEvidence{}}
	now := e.r.now()
	e.mu.Lock()
	maps.DeleteFunc(e.splits, func(_ splitKey, s *split) bool {
		return s.refs == 0 && now-s.left > int64(splitGrace)
	})
	all := slices.Collect(maps.Values(e.splits))
	e.mu.Unlock()
	slices.SortFunc(all, func(a, b *split) int {
		if c := strings.Compare(a.key.app, b.key.app); c != 0 {
			return c
		}
		return int(int64(a.key.split - b.key.split))
	})
	for _, s := range all {
		if q.Apps == nil || slices.Contains(q.Apps, s.key.app) {
			se := s.read(after[s.key])
			news = news || slices.ContainsFunc(se.Bad, func(b BadEvent) bool { return q.For == "" || b.Version == q.For })
			out.Splits = append(out.Splits, se)
		}
	}
	return out, news
}

func (s *split) read(after uint64) SplitEvidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := SplitEvidence{App: s.key.app, Split: s.key.split}
	for seq := max(after+1, s.seq-uint64(len(s.ring))+1); seq <= s.seq; seq++ {
		out.Bad = append(out.Bad, s.ring[(seq-1)%maxBadEvents])
	}
	for _, a := range s.arms {
		out.Versions = append(out.Versions, a.read())
	}
	return out
}
