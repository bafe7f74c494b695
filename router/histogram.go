package router

import (
	"sync/atomic"
	"time"

	"weir/internal/judge"
)

// histogram counts latencies in the buckets of package judge: eight to each
// doubling. Doublings come to exist with their first latency, one cache line
// each; most apps have four or five.
type histogram struct {
	octaves [octaves]atomic.Pointer[octave]
}

const (
	octaves   = judge.Buckets / perOctave
	perOctave = 8
)

type octave [perOctave]atomic.Uint64

func (h *histogram) count(d time.Duration) {
	i := judge.Bucket(d)
	h.octave(i >> 3)[i&7].Add(1)
}

func (h *histogram) octave(i int) *octave {
	o := h.octaves[i].Load()
	if o == nil {
		h.octaves[i].CompareAndSwap(nil, new(octave))
		o = h.octaves[i].Load()
	}
	return o
}

// below returns how many latencies each octave holds, cumulated.
func (h *histogram) below() (sums [octaves]uint64) {
	n := uint64(0)
	for i := range h.octaves {
		if o := h.octaves[i].Load(); o != nil {
			for j := range o {
				n += o[j].Load()
			}
		}
		sums[i] = n
	}
	return sums
}

// add adds what another one counted.
func (h *histogram) add(o *histogram) {
	for i := range o.octaves {
		if from := o.octaves[i].Load(); from != nil {
			to := h.octave(i)
			for j := range from {
				to[j].Add(from[j].Load())
			}
		}
	}
}

// quantile returns the latency that a share q of those counted do not exceed,
// to the precision of a bucket; 0 if nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	var n [judge.Buckets]uint64
	total := uint64(0)
	for i := range h.octaves {
		if o := h.octaves[i].Load(); o != nil {
			for j := range o {
				n[i<<3|j] = o[j].Load()
				total += n[i<<3|j]
			}
		}
	}
	left := uint64(q * float64(total))
	for i := range n {
		if n[i] > left {
			return judge.Bound(i + 1)
		}
		left -= n[i]
	}
	return 0
}
