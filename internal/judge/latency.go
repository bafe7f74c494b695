package judge

import (
	"math"
	"time"
)

// quantiles are the shares of the stable version's requests that lie beyond
// the thresholds.
var quantiles = [...]float64{0.5, 0.25, 0.1, 0.01}

// slowdowns are the hypotheses about how many times more requests of the
// candidate lie beyond a threshold.
var (
	slowdowns       = [...]float64{1.25, 1.5, 2, 3, 5, 10}
	slowdownWeights = [len(slowdowns)]float64{0.15, 0.2, 0.2, 0.15, 0.2, 0.1}
)

// shifts are the hypotheses about by how many standard deviations the
// candidate's logarithm of latency lies higher, with their weights: those of
// a normal distribution around zero, with more for what is hard to see.
var (
	shifts       = [...]float64{0.1, 0.2, 0.35, 0.5, 0.75, 1.1, 1.6, 2.4}
	shiftWeights = [len(shifts)]float64{0.02, 0.5, 0.22, 0.11, 0.06, 0.05, 0.03, 0.01}
)

const (
	// minBaseline is how many requests of the stable version are needed to
	// know how long it takes; before, latencies say nothing.
	minBaseline = 200
	// latencyFirst is the weight of slowness that is there from the start.
	latencyFirst = 0.9
	// shiftPart is the weight of the shifts; the rest is the thresholds'.
	shiftPart = 0.72
	// maxZ bounds how far from the mean a latency can count.
	maxZ = 4.0
	// maxStanding is the share of the candidate's requests in a batch that may
	// lie beyond the last threshold and count; minStanding of them do anyway.
	// With only one, tails are found a quarter later; with three, versions
	// that stand still now and then are rejected ten times as often.
	maxStanding = 0.05
	minStanding = 2
)

// Latency is the evidence that the candidate is slower. Its zero value is
// ready for use and tolerates nothing.
type Latency struct {
	// Tolerance is by how much the candidate may be slower: 0.1 means that
	// 10 % longer is still good, to the precision of a bucket. Slack is by how
	// much it may be slower besides, however quick both are.
	Tolerance float64
	Slack     time.Duration
	latencyState
}

// latencyState is what a Latency remembers.
type latencyState struct {
	Slow  [len(quantiles)][len(slowdowns)]float64
	Shift [len(shifts)]float64
	onsets

	// Frozen says that what follows is known; it changes with each step only.
	Frozen     bool
	Thresholds [len(quantiles)]uint8 // a latency is slow from this bucket on
	Mean, SD   float64               // of the logarithm of the stable latency
	// Beyond counts requests of the stable version since the thresholds were
	// frozen, with what was known before as a start.
	Beyond [len(quantiles)]float64
	Seen   float64
	// Stable are the latencies of the stable version from which the next
	// thresholds come.
	Stable Histogram
}

// Learn tells how long requests of the stable version took that are no
// evidence: before the rollout, or while the candidate warms up.
func (l *Latency) Learn(stable *Histogram) {
	for i, c := range stable {
		l.Stable[i] += c
	}
	if !l.Frozen {
		l.Freeze()
	}
}

// Freeze takes the thresholds from the latencies of the stable version since
// the last time, if there were enough of them.
func (l *Latency) Freeze() {
	total := l.Stable.Total()
	if total < minBaseline {
		return
	}
	for i, q := range quantiles {
		l.Thresholds[i] = uint8(l.Stable.above(q, total))
		beyond := uint64(0)
		for _, c := range l.Stable[min(int(l.Thresholds[i]), Buckets):] {
			beyond += uint64(c)
		}
		// Half of a request more on either side: q must not be 0 or 1.
		l.Beyond[i] = float64(minBaseline) * (float64(beyond) + 0.5) / (float64(total) + 1)
	}
	l.Seen = minBaseline
	l.Mean, l.SD = l.Stable.moments()
	l.SD = max(l.SD, 0.05)
	l.Frozen = true
	l.Stable = Histogram{}
}

// Add tells how long requests took that were assigned with share w of them
// going to the candidate, and returns the evidence. What is told before the
// thresholds are known only helps to know them.
func (l *Latency) Add(w float64, stable, candidate *Histogram) float64 {
	if !l.Frozen || !(w > 0 && w < 1) {
		l.Learn(stable)
		return l.Evidence()
	}
	shifted := *candidate
	if l.Tolerance > 0 || l.Slack > 0 {
		shifted = Histogram{}
		l.tolerate(candidate, &shifted)
	}
	candidate = &shifted
	l.few(candidate)
	l.addShift(w, stable, candidate)
	for i := range quantiles {
		l.addSlow(w, i, stable, candidate)
	}
	for i, c := range stable {
		l.Stable[i] += c
	}
	return l.note(l.Evidence())
}

// tolerate writes the candidate's latencies as they would be were it not
// slower than tolerated.
func (l *Latency) tolerate(candidate, out *Histogram) {
	less, slack := math.Log(1+l.Tolerance), l.Slack.Seconds()
	to := 0
	for i, c := range candidate {
		if c == 0 {
			continue
		}
		at := logs[i]
		if slack > 0 {
			at = math.Log(max(math.Exp(at)-slack, 1e-9))
		}
		for to < Buckets-1 && (logs[to]+logs[to+1])/2 <= at-less {
			to++
		}
		out[to] += c
	}
}

// few leaves out most of the candidate's slowest requests if there are many in
// one batch: what stands still for a moment, for a processor or its own garbage,
// does so for all requests that it has, and clients who wait for an answer before
// they ask again gather there. To the test these would be as many events. What is
// left out could only have spoken against the candidate, so that the guarantee
// holds.
func (l *Latency) few(candidate *Histogram) {
	slow, fast := split(candidate, int(l.Thresholds[len(quantiles)-1]))
	more := uint32(slow - min(max(minStanding, math.Floor(maxStanding*(slow+fast))), slow))
	for i := Buckets - 1; more > 0; i-- {
		n := min(more, candidate[i])
		candidate[i] -= n
		more -= n
	}
}

// addShift follows the hypotheses that the candidate's distribution is the
// stable version's moved to the right.
func (l *Latency) addShift(w float64, stable, candidate *Histogram) {
	for j := range stable {
		c, s := float64(candidate[j]), float64(stable[j])
		if c+s == 0 {
			continue
		}
		z := min(max((logs[j]-l.Mean)/l.SD, -maxZ), maxZ)
		for i, d := range shifts {
			rho := float64(d*z) - float64(d*d/2)
			l.Shift[i] += float64(c*rho) - float64((c+s)*math.Log(1-w+float64(w*math.Exp(rho))))
		}
	}
}

// addSlow follows the hypotheses that more of the candidate's requests are
// beyond threshold i.
func (l *Latency) addSlow(w float64, i int, stable, candidate *Histogram) {
	slowStable, fastStable := split(stable, int(l.Thresholds[i]))
	slow, fast := split(candidate, int(l.Thresholds[i]))
	q := l.Beyond[i] / l.Seen
	for k, r := range slowdowns {
		r = min(r, max(0.9/q, 1))
		f := (1 - float64(r*q)) / (1 - q)
		l.Slow[i][k] += float64(slow*math.Log(r)) + float64(fast*math.Log(f)) -
			float64((slow+slowStable)*math.Log(1-w+float64(w*r))) -
			float64((fast+fastStable)*math.Log(1-w+float64(w*f)))
	}
	l.Beyond[i] += slowStable
	if i == len(quantiles)-1 {
		l.Seen += slowStable + fastStable
	}
}

func split(h *Histogram, threshold int) (slow, fast float64) {
	for i, c := range h {
		if i >= threshold {
			slow += float64(c)
		} else {
			fast += float64(c)
		}
	}
	return slow, fast
}

// Evidence returns what the latencies so far say against the candidate; see
// Rate.Evidence.
func (l *Latency) Evidence() float64 {
	slow := 0.0
	for i := range l.Slow {
		slow += mixture(l.Slow[i][:], slowdownWeights[:])
	}
	slow /= float64(len(l.Slow))
	return l.evidence(latencyFirst, float64(shiftPart*mixture(l.Shift[:], shiftWeights[:]))+float64((1-shiftPart)*slow))
}

// Renew is an occasion at which a regression may have begun.
func (l *Latency) Renew() {
	l.begin(latencyFirst, l.Slow[0][:], l.Slow[1][:], l.Slow[2][:], l.Slow[3][:], l.Shift[:])
}
