package release

import (
	"slices"

	"weir/internal/judge"
	"weir/router"
)

// firstBadKept is how many of the first failed requests of each version are
// remembered, and how many of the first marked ones.
const firstBadKept = 5

// absorb tells the judge what the router has counted since the last time.
func (c *conductor) absorb(ev *router.Evidence) {
	if ev.Router != c.p.Router {
		// Another router: its counters began anew, and what the old one had
		// counted since the last time is lost.
		c.p.Splits = slices.Clone(c.p.Splits)
		for i := range c.p.Splits {
			c.p.Splits[i].Read, c.p.Splits[i].LastID = [2]Counters{}, 0
		}
		c.p.Router, c.dirty = ev.Router, true
	}
	for _, counted := range ev.Splits {
		if counted.App != c.row.AppGUID {
			continue
		}
		i := slices.IndexFunc(c.p.Splits, func(s Split) bool { return s.Number == counted.Split })
		if i < 0 {
			continue
		}
		s := c.p.Splits[i]
		if b, news := c.batch(&s, &counted); news {
			c.p.Splits = slices.Clone(c.p.Splits)
			c.p.Splits[i] = s
			c.judge.Add(&b)
			c.record = judge.AppendBatch(c.record, &b)
			c.dirty = true
		}
	}
	c.foresee()
}

// batch turns counters into what is new since the last time.
func (c *conductor) batch(s *Split, counted *router.SplitEvidence) (b judge.Batch, news bool) {
	b.Share = s.Share
	for _, v := range counted.Versions {
		switch v.Version {
		case c.row.FromGUID:
			news = c.count(s, 0, &v, &b.Stable) || news
		case c.row.ToGUID:
			news = c.count(s, 1, &v, &b.Candidate) || news
		}
	}
	for _, bad := range counted.Bad {
		if bad.Seq <= s.LastID {
			continue
		}
		s.LastID = bad.Seq
		isCandidate := bad.Version == c.row.ToGUID
		if !isCandidate && bad.Version != c.row.FromGUID {
			continue
		}
		news = true
		if c.sticky && !bad.Matched {
			clients := &b.BadClients
			if bad.Event != "" {
				clients = &b.MarkedClients
			}
			*clients = append(*clients, judge.BadClient{Client: bad.Client, Candidate: isCandidate})
		}
		c.noteBad(bad, isCandidate)
	}
	return b, news
}

// count reads the counters of one version; 0 is the stable one.
func (c *conductor) count(s *Split, which int, v *router.VersionEvidence, out *judge.Counts) bool {
	read := &s.Read[which]
	if v.Requests < read.Requests || v.Bad < read.Bad || v.Marked < read.Marked || v.Matched < read.Matched {
		*read = Counters{} // counted anew
	}
	if s.Step == c.row.Step {
		u := &c.p.Step[which]
		u.Clients, u.Endpoints = max(u.Clients, v.Clients), union(u.Endpoints, v.Endpoints)
		c.p.All[which].Clients = max(c.p.All[which].Clients, u.Clients)
	}
	ring := which == 1 && c.countRing(s, v)
	if v.Requests == read.Requests && v.Bad == read.Bad && v.Marked == read.Marked {
		return ring
	}
	out.Requests, out.Bad, out.Marked = v.Requests-read.Requests, v.Bad-read.Bad, v.Marked-read.Marked
	for i, n := range v.Latency {
		if i < len(read.Latency) {
			n -= read.Latency[i]
		}
		if i < judge.Buckets {
			out.Latency[i] = n
		}
	}
	read.Requests, read.Bad, read.Marked, read.Latency = v.Requests, v.Bad, v.Marked, slices.Clone(v.Latency)
	c.p.All[which].Latency = slices.Clone(c.p.All[which].Latency)
	c.p.All[which].add(out)
	if s.Step == c.row.Step {
		c.p.Step[which].Latency = slices.Clone(c.p.Step[which].Latency)
		c.p.Step[which].add(out)
	}
	return true
}

// countRing reads the counters of requests that a rule sent to the candidate.
// Nothing can be compared with them; in the step of a ring they are all there is.
func (c *conductor) countRing(s *Split, v *router.VersionEvidence) bool {
	read := &s.Read[1]
	n, bad, marked := v.Matched-read.Matched, v.MatchedBad-read.MatchedBad, v.MatchedMarked-read.MatchedMarked
	if n == 0 && bad == 0 && marked == 0 {
		return false
	}
	read.Matched, read.MatchedBad, read.MatchedMarked = v.Matched, v.MatchedBad, v.MatchedMarked
	if s.Step == c.row.Step && c.plan.isRing(s.Step) {
		c.p.Step[1].Requests += n
		c.p.Step[1].Bad += bad
		c.p.Step[1].Custom += marked
	}
	return true
}

// noteBad remembers the first requests that failed, and the first that were
// marked.
func (c *conductor) noteBad(bad router.BadEvent, isCandidate bool) {
	n := 0
	for _, b := range c.p.FirstBad {
		if b.Candidate == isCandidate && (b.Event == "") == (bad.Event == "") {
			n++
		}
	}
	if n >= firstBadKept {
		return
	}
	c.p.FirstBad = append(slices.Clone(c.p.FirstBad), BadRequest{
		Candidate: isCandidate, RequestID: bad.RequestID, Method: bad.Method, Path: bad.Path, Status: bad.Status, Reason: bad.Reason,
		Event: bad.Event, At: bad.At,
	})
}

func union(a, b []byte) []byte {
	out := slices.Clone(a)
	for i, x := range b {
		if i < len(out) {
			out[i] |= x
		} else {
			out = append(out, x)
		}
	}
	return out
}

const (
	// autoRate is the share of failures that MinRequests auto reckons with at
	// least: five times as many as next to none cannot be seen in any
	// reasonable time.
	autoRate = 0.01
	// autoLimit bounds what MinRequests auto asks for.
	autoLimit = 20000
)

// foresee works out what MinRequests auto means in this step and what the
// requests so far could have shown; again whenever much more is known. It
// takes a tenth of a second or so, in which the judge must not wait: it is
// done beside.
func (c *conductor) foresee() {
	if c.foreseeing || c.p.StepBegan.IsZero() {
		return
	}
	known, seen := c.p.All[0].Requests, c.p.Step[1].Requests
	auto := c.plan.Steps[c.row.Step].MinRequests.Auto && (c.p.Auto == 0 || known >= 2*max(c.p.AutoBase, 100))
	if !auto && (seen == 0 || 2*seen < 3*c.p.CouldBase) {
		return
	}
	stable, candidate := c.plan.weights(c.row.Step)
	cfg, step, ratio := c.judge.Config(), c.row.Step, c.plan.Judge.Detect
	rate, share := max(c.p.All[0].BadRate(), autoRate), float64(candidate)/float64(stable+candidate)
	c.foreseeing = true
	c.e.wg.Go(func() {
		need, could := 0, couldSee(cfg, rate, share, seen)
		if auto {
			need = autoNeed(cfg, rate, ratio, share)
		}
		c.calls <- func() {
			c.foreseeing = false
			if c.row.Step != step || c.p.StepBegan.IsZero() {
				return
			}
			if auto {
				c.p.Auto, c.p.AutoBase = need, known
			}
			c.p.CouldSee, c.p.CouldBase, c.dirty = could, seen, true
		}
	})
}

// autoNeed returns how many requests of the candidate show a regression by
// ratio nine times of ten; never zero.
func autoNeed(cfg judge.Config, rate, ratio, share float64) int {
	if cfg.ErrorAlpha <= 0 || share <= 0 || share >= 1 {
		return 1 // nobody judges errors: see at least one
	}
	if d := judge.Detect(cfg, rate, ratio, share, autoLimit); d.P90 > 0 {
		return d.P90
	}
	return autoLimit
}

// couldSee returns the smallest factor of failures that n requests of the
// candidate would have shown; 0: none.
func couldSee(cfg judge.Config, rate, share float64, n uint64) float64 {
	if cfg.ErrorAlpha <= 0 || share <= 0 || share >= 1 || n == 0 {
		return 0
	}
	return judge.Detectable(cfg, rate, share, int(min(n, autoLimit)))
}
