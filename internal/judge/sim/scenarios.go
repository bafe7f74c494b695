package main

import (
	"math/rand/v2"
	"slices"

	"weir/internal/judge"
)

// result is what came of many rollouts.
type result struct {
	runs     int
	requests []int // of the candidate until it was rejected, in order
	failed   []int // of those, how many failed
}

// rejected returns the share of rollouts that were rejected.
func (r *result) rejected() float64 { return float64(len(r.requests)) / float64(r.runs) }

// quantile returns after how many requests of the candidate a share q of the
// rollouts were rejected; ok is false if fewer were.
func (r *result) quantile(q float64) (n int, ok bool) {
	at := int(q*float64(r.runs)+0.5) - 1
	if at >= len(r.requests) {
		return 0, false
	}
	return r.requests[max(at, 0)], true
}

func (r *result) add(requests, failed int) {
	r.requests, r.failed = append(r.requests, requests), append(r.failed, failed)
}

func (r *result) done() *result {
	slices.Sort(r.requests)
	slices.Sort(r.failed)
	return r
}

// stage is a part of a rollout.
type stage struct {
	requests          int
	more              int // requests at most besides, by chance
	share             float64
	stable, candidate float64 // rates of failure
	onset             bool    // requests of the candidate are counted from here
}

// play plays rollouts through and returns when they were rejected.
func play(runs int, seed uint64, stages []stage, begin func() method) *result {
	res := &result{runs: runs}
	for run := range runs {
		rnd := rand.New(rand.NewPCG(seed, uint64(run)))
		m, src := begin(), (*source)(nil)
		requests, failed := 0, 0
	rollout:
		for _, st := range stages {
			if src == nil {
				src = newSource(rnd, st.share, st.stable, st.candidate)
			} else {
				src.set(st.share, st.stable, st.candidate)
			}
			if st.onset {
				requests, failed = 0, 0
			}
			more := 0
			if st.more > 0 {
				more = rnd.IntN(st.more)
			}
			for n := -more; n < st.requests; n += look {
				b := src.draw()
				requests, failed = requests+int(b.Candidate.Requests), failed+int(b.Candidate.Bad)
				if m.rejected(&b) {
					res.add(requests, failed)
					break rollout
				}
			}
		}
	}
	return res.done()
}

// steady is a rollout that stays at one share.
func steady(requests int, share, stable, candidate float64) []stage {
	return []stage{{requests: requests, share: share, stable: stable, candidate: candidate}}
}

// whole is a rollout of the usual steps in which the candidate fails factor
// times as often.
func whole(perStep int, rate, factor float64) (stages []stage) {
	for _, share := range []float64{0.01, 0.05, 0.25, 0.5} {
		stages = append(stages, stage{requests: perStep, share: share, stable: rate, candidate: rate * factor})
	}
	return stages
}

// incident is a whole rollout of a good candidate in the last step of which
// both versions fail three times as often.
func incident(perStep int, rate float64) []stage {
	stages := whole(perStep, rate, 1)
	stages[3].stable, stages[3].candidate = 3*rate, 3*rate
	return stages
}

// late is a whole rollout whose candidate gets worse in the last step, at any
// moment of the time between two occasions of the judge's.
func late(perStep int, rate, factor float64) []stage {
	stages := whole(perStep, rate, 1)
	stages[3].requests, stages[3].more = perStep*2/5, 5*judge.DefaultRenew
	return append(stages, stage{requests: perStep * 3 / 5, share: 0.5, stable: rate, candidate: rate * factor, onset: true})
}

// playLatency plays rollouts through at one share. The stable version's
// latency is known from before; from half of the requests on, both versions
// take 1 + later as long.
func playLatency(runs int, seed uint64, requests int, l latencies, later float64, begin func() judging) *result {
	const between = 100 // requests between looks
	res := &result{runs: runs}
	for run := range runs {
		rnd := rand.New(rand.NewPCG(seed, uint64(run)))
		l.rnd = rnd
		before := latencies{rnd: rnd, sigma: l.sigma}
		var b judge.Batch
		before.draw(&b, 2000)
		m := begin()
		m.learn(&b.Stable.Latency)
		count, now := 0, l
		for n := 0; n < requests; n += between {
			if n >= requests/2 {
				now.incident = later
			}
			b = judge.Batch{}
			now.draw(&b, between)
			count += int(b.Candidate.Requests)
			if m.rejected(&b) {
				res.add(count, 0)
				break
			}
		}
	}
	return res.done()
}

// everything is a whole rollout of a good candidate, with errors and latency
// together, default settings, an incident in which both versions fail and are
// slow, and instances of the candidate that are cold at each step, and once
// more in the middle of it, when they were started again.
func everything(runs int, seed uint64, perStep int) *result {
	const between = 250
	res := &result{runs: runs}
	for run := range runs {
		rnd := rand.New(rand.NewPCG(seed, uint64(run)))
		j := judge.New(judge.Config{})
		l := latencies{rnd: rnd, sigma: 0.5}
		var b judge.Batch
		l.draw(&b, 2000)
		j.Add(&b)
		rejected, count := false, 0
		for step, share := range []float64{0.01, 0.05, 0.25, 0.5} {
			j.Begin()
			cold := 40
			for n := 0; n < perStep && !rejected; n += between {
				if n == perStep/4/between*between {
					cold = 40
					j.Cool(50)
				}
				l.share, l.incident = share, 0
				rate := 0.005
				if step == 3 && n > perStep/2 {
					l.incident, rate = 0.5, 0.02
				}
				b = judge.Batch{}
				l.slower = 0
				if cold > 0 {
					l.slower = 4
				}
				l.draw(&b, between)
				cold -= int(b.Candidate.Requests)
				for _, c := range []*judge.Counts{&b.Stable, &b.Candidate} {
					for range c.Requests {
						if rnd.Float64() < rate {
							c.Bad++
						}
					}
				}
				count += int(b.Candidate.Requests)
				rejected = j.Add(&b).Rejected
			}
		}
		if rejected {
			res.add(count, 0)
		}
	}
	return res.done()
}

// clustering says how failures gather in clients.
type clustering int

const (
	independent clustering = iota
	halfBroken             // two of a hundred clients fail half of their requests
	bots                   // one of a thousand clients sends 300 requests that fail
)

// playSticky plays rollouts through in which clients stay with a version, and
// each failure counts, or each client's first one only.
func playSticky(runs int, seed uint64, clients int, shares []float64, kind clustering, candidate float64, first bool) *result {
	res := &result{runs: runs}
	for run := range runs {
		rnd := rand.New(rand.NewPCG(seed, uint64(run)))
		j := judge.New(judge.Config{ErrorAlpha: 0.01, LatencyAlpha: -1, Sticky: first})
		count := 0
	rollout:
		for _, share := range shares {
			j.Begin()
			for client := range clients {
				// The position of a client is the same in every step.
				u := rand.New(rand.NewPCG(uint64(run), uint64(client))).Float64()
				b := visit(rnd, uint64(client), u < share, kind, candidate)
				b.Share = share
				count += int(b.Candidate.Requests)
				if j.Add(&b).Rejected {
					res.add(count, 0)
					break rollout
				}
			}
		}
	}
	return res.done()
}

// visit is what one client does in one step.
func visit(rnd *rand.Rand, client uint64, isCandidate bool, kind clustering, candidate float64) (b judge.Batch) {
	rate, requests := 0.01, 1+rnd.IntN(20)
	switch {
	case kind == halfBroken && client%50 == 0:
		rate = 0.5
	case kind == bots && client%1000 == 0:
		rate, requests = 1, 300
	case isCandidate:
		rate = candidate
	}
	c := &b.Stable
	if isCandidate {
		c = &b.Candidate
	}
	c.Requests = uint64(requests)
	for range requests {
		if rnd.Float64() < rate {
			c.Bad++
			b.BadClients = append(b.BadClients, judge.BadClient{Client: client + 1, Candidate: isCandidate})
		}
	}
	return b
}
