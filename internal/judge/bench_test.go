package judge_test

import (
	"testing"
	"time"

	"weir/internal/judge"
)

// One second of 50,000 requests, in batches of a quarter of a second.
func BenchmarkJudge_SecondOf50kRequests(b *testing.B) {
	tr := traffic{rnd: seeded(1), share: 0.05, stable: 0.01, candidate: 0.01, median: 10 * time.Millisecond}
	j := judge.New(judge.Config{})
	learned(j, tr)
	batch := tr.batch(12500)
	b.ReportAllocs()
	for b.Loop() {
		for range 4 {
			j.Add(batch)
		}
	}
}
