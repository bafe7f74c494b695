package judge

import (
	"math"
	"math/bits"
	"time"
)

// Buckets is the number of buckets of a Histogram: eight to each doubling,
// from 64 µs to 134 s.
const Buckets = 168

// Histogram counts latencies in buckets whose bounds lie 7 to 12 % apart.
type Histogram [Buckets]uint32

// Bucket returns the bucket of a latency. What is shorter than 64 µs goes to
// the first one, what is longer than 134 s to the last.
func Bucket(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 64))
	e := bits.Len64(us) - 7
	return min(e<<3|int(us>>(e+3)&7), Buckets-1)
}

// Bound returns the shortest latency that belongs to bucket i.
func Bound(i int) time.Duration {
	return time.Duration(8+i&7) << (i >> 3) * 8 * time.Microsecond
}

// Total returns how many latencies were counted.
func (h *Histogram) Total() (n uint64) {
	for _, c := range h {
		n += uint64(c)
	}
	return n
}

// Quantile returns the latency that a share q of those counted do not exceed,
// to the precision of a bucket; zero if nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.Total()
	if total == 0 {
		return 0
	}
	return Bound(min(h.above(1-q, total), Buckets-1))
}

// above returns the first bucket such that at most a share q of the total lies
// in it and beyond.
func (h *Histogram) above(q float64, total uint64) int {
	limit := uint64(q * float64(total))
	beyond := uint64(0)
	for i := Buckets - 1; i >= 0; i-- {
		if beyond += uint64(h[i]); beyond > limit {
			return i + 1
		}
	}
	return 0
}

// moments returns mean and standard deviation of the logarithm of what was
// counted.
func (h *Histogram) moments() (mean, sd float64) {
	var n, sum, squares float64
	for i, c := range h {
		if c > 0 {
			f, x := float64(c), logs[i]
			n, sum, squares = n+f, sum+f*x, squares+f*x*x
		}
	}
	if n == 0 {
		return 0, 1
	}
	mean = sum / n
	return mean, math.Sqrt(max(squares/n-mean*mean, 0))
}

// logs are the logarithms of the middles of the buckets, in seconds.
var logs = func() (l [Buckets]float64) {
	for i := range l {
		l[i] = (math.Log(Bound(i).Seconds()) + math.Log(Bound(i+1).Seconds())) / 2
	}
	return l
}()
