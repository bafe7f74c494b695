package judge_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/judge"
)

// traffic makes batches of requests to two versions.
type traffic struct {
	rnd               *rand.Rand
	share             float64
	stable, candidate float64 // share of requests that fail
	marked            float64 // share of the candidate's whose answer is marked; 0: nothing is
	median            time.Duration
	slower            float64
}

func (t traffic) batch(n int) *judge.Batch {
	b := &judge.Batch{Share: t.share}
	for range n {
		counts, rate, factor := &b.Stable, t.stable, 1.0
		candidate := t.rnd.Float64() < t.share
		if candidate {
			counts, rate, factor = &b.Candidate, t.candidate, 1+t.slower
		}
		counts.Requests++
		if t.rnd.Float64() < rate {
			counts.Bad++
			b.BadClients = append(b.BadClients, judge.BadClient{Client: t.rnd.Uint64(), Candidate: candidate})
			continue
		}
		if t.marked > 0 && t.rnd.Float64() < t.markRate(candidate) {
			counts.Marked++
			b.MarkedClients = append(b.MarkedClients, judge.BadClient{Client: t.rnd.Uint64(), Candidate: candidate})
		}
		took := float64(t.median) * factor * math.Exp(0.5*t.rnd.NormFloat64())
		counts.Latency[judge.Bucket(time.Duration(took))]++
	}
	return b
}

// markRate is the share of a version's answers that are marked: 1 % of the
// stable version's.
func (t traffic) markRate(candidate bool) float64 {
	if candidate {
		return t.marked
	}
	return 0.01
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// learned is a traffic before the rollout, from which the judge learns how
// long the stable version takes.
func learned(j *judge.Judge, t traffic) {
	t.share = 0
	j.Add(t.batch(2000))
	j.Begin()
}

func TestJudge_RejectsACandidateWhoseRequestsAllFail(t *testing.T) {
	j := judge.New(judge.Config{})
	j.Begin()
	for n := 1; n <= 5; n++ {
		v := j.Add(&judge.Batch{Share: 0.05, Stable: judge.Counts{Requests: 19}, Candidate: judge.Counts{Requests: 1, Bad: 1}})
		if v.Rejected {
			if v.Cause != judge.Errors {
				t.Errorf("cause is %v, want errors", v.Cause)
			}
			return
		}
	}
	t.Error("five failed requests of five were not enough")
}

func TestJudge_RejectsErrorsAndSlowness(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tr    traffic
		cause judge.Stream
	}{
		{"errors", traffic{share: 0.05, stable: 0.01, candidate: 0.05, median: 10 * time.Millisecond}, judge.Errors},
		{"latency", traffic{share: 0.05, stable: 0.01, candidate: 0.01, median: 100 * time.Millisecond, slower: 0.3}, judge.Slowness},
		{"marked", traffic{share: 0.05, stable: 0.01, candidate: 0.01, median: 10 * time.Millisecond, marked: 0.05}, judge.Custom},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.tr.rnd = seeded(1)
			j := judge.New(judge.Config{})
			learned(j, tt.tr)
			for range 1000 {
				if v := j.Add(tt.tr.batch(20)); v.Rejected {
					if v.Cause != tt.cause {
						t.Errorf("rejected for %v, want %v", v.Cause, tt.cause)
					}
					return
				}
			}
			t.Errorf("not rejected: %+v", j.Verdict())
		})
	}
}

func TestJudge_ADecisionStays(t *testing.T) {
	j := judge.New(judge.Config{})
	j.Begin()
	j.Add(&judge.Batch{Share: 0.05, Candidate: judge.Counts{Requests: 20, Bad: 20}})
	if v := j.Add(&judge.Batch{Share: 0.05, Stable: judge.Counts{Requests: 10000, Bad: 10000}}); !v.Rejected {
		t.Error("a rejected candidate was taken back")
	}
}

func TestJudge_DoesNotJudgeLatencyWhileTheCandidateIsCold(t *testing.T) {
	tr := traffic{rnd: seeded(3), share: 0.05, median: 10 * time.Millisecond}
	j := judge.New(judge.Config{Warmup: 50})
	learned(j, tr)
	cold := tr
	cold.slower = 4
	var b *judge.Batch
	for n := uint64(0); n < 40; n += b.Candidate.Requests {
		b = cold.batch(20)
		if v := j.Add(b); v.Rejected {
			t.Fatal("rejected while warming up")
		}
	}
	for range 500 {
		if v := j.Add(tr.batch(20)); v.Rejected {
			t.Fatalf("rejected after warming up: %+v", v)
		}
	}
	j.Cool(50) // an instance was started again
	if j.Add(cold.batch(400)); j.Verdict().Rejected {
		t.Error("rejected although it was told that instances are cold")
	}
}

func TestJudge_CountsAStickyClientOnce(t *testing.T) {
	bad := make([]judge.BadClient, 1000)
	for i := range bad {
		bad[i] = judge.BadClient{Client: 42, Candidate: true}
	}
	b := &judge.Batch{Share: 0.05, BadClients: bad, Candidate: judge.Counts{Requests: 1000, Bad: 1000}}
	j := judge.New(judge.Config{Sticky: true})
	j.Begin()
	if v := j.Add(b); v.Rejected {
		t.Error("one client was enough to reject a version")
	}
	if v := judge.New(judge.Config{}).Add(b); !v.Rejected {
		t.Error("a thousand failures were not enough where clients do not stick")
	}
}

func TestJudge_ToleranceLetsTheCandidateBeABitWorse(t *testing.T) {
	tr := traffic{rnd: seeded(4), share: 0.25, stable: 0.1, candidate: 0.12, median: 10 * time.Millisecond, slower: 0.05}
	j := judge.New(judge.Config{ErrorTolerance: 0.3, LatencyTolerance: 0.2})
	learned(j, tr)
	for range 2000 {
		if v := j.Add(tr.batch(20)); v.Rejected {
			t.Fatalf("rejected for what is tolerated: %+v", v)
		}
	}
}

// A bet must be fair: the mean of the evidence over what may happen next is
// the evidence now.
func TestRate_EveryBetIsFair(t *testing.T) {
	for _, w := range []float64{0.01, 0.05, 0.5, 0.9} {
		for _, before := range [][2]uint64{{0, 0}, {3, 1}, {10, 9}} {
			next := func(stable, candidate uint64) float64 {
				var r judge.Rate
				r.Add(w, before[0], before[1])
				r.Renew()
				return r.Add(w, stable, candidate)
			}
			got, want := w*next(0, 1)+(1-w)*next(1, 0), next(0, 0)
			if math.Abs(got-want) > 1e-9*want {
				t.Errorf("share %v after %v: expectation %v, want %v", w, before, got, want)
			}
		}
	}
}

func TestLatency_EveryBetIsFair(t *testing.T) {
	tr := traffic{rnd: seeded(5), share: 0.1, median: 20 * time.Millisecond}
	var base judge.Latency
	before, b := tr.batch(2000), tr.batch(100)
	base.Learn(&before.Stable.Latency)
	base.Add(0.1, &b.Stable.Latency, &b.Candidate.Latency)
	want := base.Evidence()
	for bucket := 0; bucket < judge.Buckets; bucket++ {
		for _, w := range []float64{0.05, 0.5} {
			var one, none judge.Histogram
			one[bucket] = 1
			candidate, stable := base, base
			got := w*candidate.Add(w, &none, &one) + (1-w)*stable.Add(w, &one, &none)
			if math.Abs(got-want) > 1e-9*want {
				t.Errorf("bucket %d share %v: expectation %v, want %v", bucket, w, got, want)
			}
		}
	}
}

func TestPaired_FlagsAFieldThatAlwaysDiffers(t *testing.T) {
	var p judge.Paired
	first := map[float64]int{}
	for n := 1; n <= 20; n++ {
		e := p.Add(true)
		for _, limit := range []float64{100, 10000} {
			if e >= limit && first[limit] == 0 {
				first[limit] = n
			}
		}
	}
	if first[100] != 9 || first[10000] != 16 {
		t.Errorf("flagged after %v, want 9 and 16", first)
	}
}

func TestBucket_LiesWithinItsBounds(t *testing.T) {
	for _, d := range []time.Duration{0, 64 * time.Microsecond, 65 * time.Microsecond, 100 * time.Microsecond, 999 * time.Microsecond, time.Millisecond, 123 * time.Millisecond, 3 * time.Second, 100 * time.Second} {
		i := judge.Bucket(d)
		if i > 0 && d < judge.Bound(i) || d >= judge.Bound(i+1) {
			t.Errorf("%v is in bucket %d, from %v to %v", d, i, judge.Bound(i), judge.Bound(i+1))
		}
	}
	if got := judge.Bucket(time.Hour); got != judge.Buckets-1 {
		t.Errorf("an hour is in bucket %d, want the last", got)
	}
}

func TestJudge_AddDoesNotAllocate(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		tr := traffic{rnd: seeded(6), share: 0.05, stable: 0.01, candidate: 0.01, median: 10 * time.Millisecond}
		j := judge.New(judge.Config{Sticky: sticky})
		learned(j, tr)
		b := tr.batch(1000)
		if n := testing.AllocsPerRun(100, func() { j.Add(b) }); n != 0 {
			t.Errorf("sticky %v: %v allocations per batch, want none", sticky, n)
		}
	}
}

func TestDetect_MoreEvidenceIsNeededForSmallerRegressions(t *testing.T) {
	last := math.MaxInt
	for _, ratio := range []float64{2, 3, 5, 10, 20} {
		d := judge.Detect(judge.Config{}, 0.01, ratio, 0.05, 20000)
		if d.Median <= 0 || d.P90 < d.Median || d.P90 >= last {
			t.Errorf("%v: %+v after %d", ratio, d, last)
		}
		last = d.P90
	}
	if got := judge.Detectable(judge.Config{}, 0.01, 0.05, 640); got != 5 {
		t.Errorf("640 requests would have shown a regression of %v times, want 5", got)
	}
	if got := judge.Detectable(judge.Config{}, 0.0001, 0.05, 100); got != 0 {
		t.Errorf("100 requests of a service that never fails would have shown %v, want nothing", got)
	}
}

// standstill adds requests of a version that waited for the same thing, such as a
// processor, and so are all slow.
func standstill(c *judge.Counts, n int, took time.Duration) {
	c.Requests += uint64(n)
	c.Latency[judge.Bucket(took)] += uint32(n)
}

// Where clients wait for one answer before they ask again, they gather at the
// version that stands still for a moment: nine slow requests are not nine events.
func TestJudge_RequestsThatStandStillTogetherAreFewEvents(t *testing.T) {
	for seed := range uint64(20) {
		j := judge.New(judge.Config{})
		l := traffic{rnd: seeded(seed), share: 0.05, median: time.Millisecond}
		learned(j, l)
		for n := range 200 {
			b := l.batch(400)
			switch n % 20 {
			case 9:
				standstill(&b.Candidate, 9, 15*time.Millisecond)
			case 19:
				standstill(&b.Stable, 9, 15*time.Millisecond)
			}
			if v := j.Add(b); v.Rejected {
				t.Fatalf("seed %d: a version that stands still as often as the other was rejected at the %dth batch: %v", seed, n, v.Findings)
			}
		}
	}
}

// What is really slow is found all the same.
func TestJudge_MuchSlowerIsFoundAtOnce(t *testing.T) {
	j := judge.New(judge.Config{})
	l := traffic{rnd: seeded(3), share: 0.05, median: 20 * time.Millisecond, slower: 4}
	learned(j, l)
	for n := 0; ; n++ {
		if j.Add(l.batch(400)).Rejected {
			return
		}
		if n == 6 { // three of them for warming up
			t.Fatal("a version five times as slow is not rejected")
		}
	}
}

// A version with few requests meets colder caches: a few milliseconds are
// nobody's regression, ten times that is.
func TestJudge_AFewMillisecondsAreNoRegression(t *testing.T) {
	run := func(more time.Duration) bool {
		j := judge.New(judge.Config{Warmup: -1})
		j.Begin()
		for i := range 400 {
			var b judge.Batch
			b.Share = 0.05
			for k := range 19 {
				b.Stable.Latency[judge.Bucket(time.Duration(200+(i*19+k)%150)*time.Microsecond)]++
			}
			b.Stable.Requests, b.Candidate.Requests = 19, 1
			b.Candidate.Latency[judge.Bucket(time.Duration(200+i%150)*time.Microsecond+more)]++
			j.Add(&b)
		}
		return j.Verdict().Rejected
	}
	if run(4 * time.Millisecond) {
		t.Error("4 ms more were held against it")
	}
	if !run(20 * time.Millisecond) {
		t.Error("20 ms more were not seen")
	}
}
