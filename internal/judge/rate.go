package judge

import "math"

// ratios are the hypotheses about how many times more often requests of the
// candidate fail. Their weights favour what new versions usually do.
var (
	ratios       = [...]float64{1.25, 1.5, 2, 3, 5, 10, 20, 50, 100}
	ratioWeights = [len(ratios)]float64{0.04, 0.08, 0.16, 0.16, 0.18, 0.16, 0.12, 0.05, 0.05}
)

// rateFirst is the weight of failures that are more frequent from the start.
const rateFirst = 0.65

// Rate is the evidence that bad events are more frequent in the candidate. Its
// zero value is ready for use and tolerates nothing.
type Rate struct {
	// Tolerance is by how much the candidate may be worse: 0.25 means that a
	// rate 25 % above the stable version's is still good.
	Tolerance float64
	rateState
	bets bets
}

// rateState is what a Rate remembers.
type rateState struct {
	Logs [len(ratios)]float64
	onsets
}

// bets are the logarithms of the factors of all hypotheses for one share.
type bets struct {
	share, tolerance  float64
	candidate, stable [len(ratios)]float64
}

func (b *bets) prepare(w, tolerance float64) {
	if b.share == w && b.tolerance == tolerance {
		return
	}
	b.share, b.tolerance = w, tolerance
	bound := w * (1 + tolerance) / (float64(w*(1+tolerance)) + 1 - w)
	for i, ratio := range ratios {
		theta := w * ratio / (float64(w*ratio) + 1 - w)
		b.candidate[i] = math.Log(theta / bound)
		b.stable[i] = math.Log((1 - theta) / (1 - bound))
	}
}

// Add tells of bad events among requests that were assigned with share w of
// them going to the candidate, and returns the evidence.
func (r *Rate) Add(w float64, stable, candidate uint64) float64 {
	if !(w > 0 && w < 1) || stable+candidate == 0 {
		return r.Evidence()
	}
	r.bets.prepare(w, r.Tolerance)
	for i := range ratios {
		r.Logs[i] += float64(float64(candidate)*r.bets.candidate[i]) + float64(float64(stable)*r.bets.stable[i])
	}
	return r.note(r.Evidence())
}

// Evidence returns what the events so far say against the candidate: one in
// the beginning, and at least 1/α ever with probability at most α if the
// candidate is not worse than tolerated.
//
// Hypotheses within the tolerance have no say: they would bet on the candidate
// being good.
func (r *Rate) Evidence() float64 {
	sum, n := 0.0, 0.0
	for i, ratio := range ratios {
		if ratio > 1+r.Tolerance {
			sum += float64(ratioWeights[i] * math.Exp(min(r.Logs[i], maxLog)))
			n += ratioWeights[i]
		}
	}
	if n == 0 {
		return 1
	}
	return r.evidence(rateFirst, sum/n)
}

// Renew is an occasion at which a regression may have begun.
func (r *Rate) Renew() { r.begin(rateFirst, r.Logs[:]) }
