package judge

import "math"

// agreements are the hypotheses about how often, when exactly one of the two
// others disagrees with the main version, it is the shadow.
var agreements = [...]float64{0.6, 0.75, 0.9, 0.99}

// Paired is the evidence that one field of one endpoint's answers differs in a
// shadow version by more than noise. Each request is answered by the main
// version, by the shadow, and by the main version a second time; only requests
// for which exactly one of the two last differs from the first say something.
// If the shadow behaves like the main version both are equally likely, however
// noisy the field is, so that this is a coin whose tosses are counted; see the
// package's comment for the guarantee. The zero value is ready for use.
type Paired struct {
	// Shadow counts requests for which only the shadow differed, Noise those
	// for which only the second main did.
	Shadow, Noise uint32
	// Peak is the largest evidence so far.
	Peak float64
}

// Add tells that only the shadow differed, or only the second main, and
// returns the evidence.
func (p *Paired) Add(shadow bool) float64 {
	if shadow {
		p.Shadow++
	} else {
		p.Noise++
	}
	e := p.Evidence()
	p.Peak = max(p.Peak, e)
	return e
}

// Evidence returns what the requests so far say against the shadow: one in the
// beginning, 1/α ever with probability at most α if it does not differ.
func (p *Paired) Evidence() float64 {
	sum := 0.0
	for _, a := range agreements {
		sum += math.Exp(min(float64(float64(p.Shadow)*math.Log(2*a))+float64(float64(p.Noise)*math.Log(2*(1-a))), maxLog))
	}
	return sum / float64(len(agreements))
}
