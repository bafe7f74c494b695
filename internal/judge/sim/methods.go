package main

import (
	"math"

	"weir/internal/judge"
)

// method decides from looks at the errors; rejected is asked after each.
type method interface {
	rejected(b *judge.Batch) bool
}

// evidence is the judge's own test.
type evidence struct {
	rate  judge.Rate
	limit float64
	seen  uint64
	share float64
}

func newEvidence(alpha, tolerance float64) *evidence {
	return &evidence{rate: judge.Rate{Tolerance: tolerance}, limit: 1 / alpha}
}

func (e *evidence) rejected(b *judge.Batch) bool {
	if e.share != b.Share && e.share != 0 { // a new step
		e.rate.Renew()
		e.seen = 0
	}
	e.share = b.Share
	out := e.rate.Add(b.Share, b.Stable.Bad, b.Candidate.Bad) >= e.limit
	if e.seen += look; e.seen >= judge.DefaultRenew {
		e.rate.Renew()
		e.seen = 0
	}
	return out
}

// pooled sums everything since the beginning, as tests do that are made for
// one look at the end.
type pooled struct{ n, bad [2]float64 }

func (p *pooled) add(b *judge.Batch) {
	p.n[0] += float64(b.Stable.Requests)
	p.n[1] += float64(b.Candidate.Requests)
	p.bad[0] += float64(b.Stable.Bad)
	p.bad[1] += float64(b.Candidate.Bad)
}

// zTest compares the two rates at every look, at a level of 1 %.
type zTest struct{ pooled }

func (z *zTest) rejected(b *judge.Batch) bool {
	z.add(b)
	if z.n[1] < 20 || z.bad[1] == 0 {
		return false
	}
	p := (z.bad[0] + z.bad[1]) / (z.n[0] + z.n[1])
	sd := math.Sqrt(p * (1 - p) * (1/z.n[0] + 1/z.n[1]))
	return sd > 0 && (z.bad[1]/z.n[1]-z.bad[0]/z.n[0])/sd > 2.326
}

// fisher is Fisher's exact test at every look, at a level of 1 %.
type fisher struct{ pooled }

func (f *fisher) rejected(b *judge.Batch) bool {
	f.add(b)
	if b.Candidate.Bad == 0 { // less evidence than at the last look that counted
		return false
	}
	bad, n := f.bad[0]+f.bad[1], f.n[0]+f.n[1]
	// The tail of the hypergeometric distribution from what was seen upwards.
	k := f.bad[1]
	if k <= bad*f.n[1]/n {
		return false
	}
	p := math.Exp(choose(f.n[1], k) + choose(f.n[0], bad-k) - choose(n, bad))
	tail := 0.0
	for ; k <= math.Min(bad, f.n[1]) && p > 1e-12; k++ {
		tail += p
		p *= (f.n[1] - k) * (bad - k) / ((k + 1) * (f.n[0] - bad + k + 1))
	}
	return tail < 0.01
}

func choose(n, k float64) float64 { return lgamma(n+1) - lgamma(k+1) - lgamma(n-k+1) }

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

// threshold rejects when more than 1 % of the candidate's requests failed in
// five windows of 1000 requests in a row.
type threshold struct {
	n, bad  uint64
	seen    int
	strikes int
}

func (t *threshold) rejected(b *judge.Batch) bool {
	t.n += b.Candidate.Requests
	t.bad += b.Candidate.Bad
	if t.seen += look; t.seen < 1000 {
		return false
	}
	if t.n > 0 && float64(t.bad) > 0.01*float64(t.n) {
		t.strikes++
	} else {
		t.strikes = 0
	}
	t.n, t.bad, t.seen = 0, 0, 0
	return t.strikes >= 5
}

// judging is a method for latency: the judge's, or one below.
type judging interface {
	learn(stable *judge.Histogram)
	rejected(b *judge.Batch) bool
}

// slowness is the judge's own test of latency.
type slowness struct {
	latency judge.Latency
	limit   float64
	seen    uint64
}

func (s *slowness) learn(stable *judge.Histogram) { s.latency.Learn(stable) }

func (s *slowness) rejected(b *judge.Batch) bool {
	out := s.latency.Add(b.Share, &b.Stable.Latency, &b.Candidate.Latency) >= s.limit
	if s.seen += b.Stable.Requests + b.Candidate.Requests; s.seen >= judge.DefaultRenew {
		s.latency.Renew()
		s.seen = 0
	}
	return out
}

// mannWhitney compares the ranks of all requests so far at every look, at a
// level of 1 %.
type mannWhitney struct{ h [2]judge.Histogram }

func (m *mannWhitney) learn(*judge.Histogram) {}

func (m *mannWhitney) rejected(b *judge.Batch) bool {
	var n [2]float64
	for i := range b.Stable.Latency {
		m.h[0][i] += b.Stable.Latency[i]
		m.h[1][i] += b.Candidate.Latency[i]
		n[0], n[1] = n[0]+float64(m.h[0][i]), n[1]+float64(m.h[1][i])
	}
	if n[1] < 5 {
		return false
	}
	u, below, ties := 0.0, 0.0, 0.0
	for i := range m.h[0] {
		s, c := float64(m.h[0][i]), float64(m.h[1][i])
		u += c * (below + s/2)
		below += s
		ties += (s + c) * (s + c) * (s + c)
	}
	all := n[0] + n[1]
	sd := math.Sqrt(n[0] * n[1] / 12 * (all + 1 - (ties-all)/(all*(all-1))))
	return (u-n[0]*n[1]/2)/sd > 2.326
}

// slowTail rejects when the candidate's p99 was more than 1.5 times that of
// the baseline in five windows of 500 requests in a row.
type slowTail struct {
	base    judge.Histogram
	window  judge.Histogram
	seen    uint64
	strikes int
}

func (s *slowTail) learn(stable *judge.Histogram) {
	for i, c := range stable {
		s.base[i] += c
	}
}

func (s *slowTail) rejected(b *judge.Batch) bool {
	for i, c := range b.Candidate.Latency {
		s.window[i] += c
	}
	if s.seen += b.Stable.Requests + b.Candidate.Requests; s.seen < 500 {
		return false
	}
	if s.window.Total() > 0 && float64(s.window.Quantile(0.99)) > 1.5*float64(s.base.Quantile(0.99)) {
		s.strikes++
	} else {
		s.strikes = 0
	}
	s.window, s.seen = judge.Histogram{}, 0
	return s.strikes >= 5
}

func tolerant() judge.Latency {
	var l judge.Latency
	l.Tolerance = 0.1
	return l
}
