package main

import (
	"math"
	"math/rand/v2"
	"time"

	"weir/internal/judge"
)

// look is how many requests come between two looks at the errors.
const look = 20

// source makes requests that fail or not. Whether a request fails does not
// depend on the others, so that it goes from failure to failure.
type source struct {
	rnd   *rand.Rand
	share float64
	rates [2]float64 // of failure: stable, candidate
	next  [2]int     // requests until the next failure
	split [look + 1]float64
}

func newSource(rnd *rand.Rand, share, stable, candidate float64) *source {
	s := &source{rnd: rnd}
	s.set(share, stable, candidate)
	return s
}

// set changes the share and the rates of failure.
func (s *source) set(share, stable, candidate float64) {
	s.share, s.rates = share, [2]float64{stable, candidate}
	s.next = [2]int{s.gap(stable), s.gap(candidate)}
	p, sum := math.Pow(1-share, look), 0.0 // how many of a look's requests are the candidate's
	for k := range s.split {
		sum += p
		s.split[k] = sum
		p *= float64(look-k) / float64(k+1) * share / (1 - share)
	}
}

func (s *source) gap(rate float64) int {
	switch {
	case rate >= 1:
		return 1
	case rate <= 0:
		return math.MaxInt
	}
	return 1 + int(math.Log(1-s.rnd.Float64())/math.Log(1-rate))
}

// draw returns the requests of one look.
func (s *source) draw() (b judge.Batch) {
	u, n := s.rnd.Float64(), 0
	for n < look && u > s.split[n] {
		n++
	}
	b.Share = s.share
	b.Stable.Requests, b.Candidate.Requests = uint64(look-n), uint64(n)
	b.Stable.Bad, b.Candidate.Bad = s.failures(0, look-n), s.failures(1, n)
	return b
}

func (s *source) failures(version, requests int) (bad uint64) {
	for s.next[version] <= requests {
		bad++
		requests -= s.next[version]
		s.next[version] = s.gap(s.rates[version])
	}
	s.next[version] -= requests
	return bad
}

// latencies makes requests that take their time.
type latencies struct {
	rnd      *rand.Rand
	share    float64
	sigma    float64 // of the logarithm
	slower   float64 // the candidate's, all requests: 0.2 is 20 %
	tail     float64 // share of the candidate's requests that take five times as long
	incident float64 // both versions' latency is multiplied by 1 + incident
	stalls   float64 // how often each of both versions stands still, in a batch
}

const median = 20 * time.Millisecond

// While a version stands still, as many requests are sent as so many clients
// send who wait for each answer: they gather there.
const (
	stallLasts    = 10 * median
	stallRequests = 120
	stallClients  = 12
)

// draw adds n requests to a batch.
func (l *latencies) draw(b *judge.Batch, n int) {
	b.Share = l.share
	for range n {
		c, took := &b.Stable, float64(median)*(1+l.incident)*math.Exp(l.sigma*l.rnd.NormFloat64())
		if l.rnd.Float64() < l.share {
			c = &b.Candidate
			took *= 1 + l.slower
			if l.tail > 0 && l.rnd.Float64() < l.tail {
				took *= 5
			}
		}
		c.Requests++
		c.Latency[judge.Bucket(time.Duration(took))]++
	}
	l.stall(&b.Stable, 1-l.share)
	l.stall(&b.Candidate, l.share)
}

// stall has a version stand still, perhaps, that gets a share of the requests.
func (l *latencies) stall(c *judge.Counts, share float64) {
	if l.stalls == 0 || l.rnd.Float64() >= l.stalls {
		return
	}
	for n, waiting := 0, 0; n < stallRequests && waiting < stallClients; n++ {
		if l.rnd.Float64() < share {
			waiting++
			c.Requests++
			c.Latency[judge.Bucket(median+time.Duration(float64(stallLasts)*(1-float64(n)/stallRequests)))]++
		}
	}
}
