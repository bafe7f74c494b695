package judge_test

import (
	"testing"
	"time"

	"weir/internal/judge"
)

// recorded plays a rollout with everything that can happen in it, reading the
// judge back from what was kept now and then, and returns it with its record.
func recorded(t *testing.T, cfg judge.Config, seed uint64) (*judge.Judge, []byte) {
	t.Helper()
	j := judge.New(cfg)
	var record []byte
	tr := traffic{rnd: seeded(seed), stable: 0.01, candidate: 0.015, median: 8 * time.Millisecond, slower: 0.02, marked: 0.015}
	for i, share := range []float64{0, 0.01, 0.05, 0.25, 0.5} {
		tr.share = share
		j.Begin()
		record = judge.AppendBegin(record)
		for k := range 100 {
			b := tr.batch(100)
			if k%20 == 0 {
				b.Stable.Custom, b.Candidate.Custom = 2, 1
			}
			j.Add(b)
			record = judge.AppendBatch(record, b)
			if k == 50 {
				kept, err := j.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				if len(kept) > 4096 {
					t.Errorf("three streams are kept in %d bytes, want at most 4096", len(kept))
				}
				j = new(judge.Judge)
				if err := j.UnmarshalBinary(kept); err != nil {
					t.Fatal(err)
				}
				record = judge.AppendRestart(record)
			}
			if k == 70 && i == 2 {
				j.Cool(30)
				record = judge.AppendCool(record, 30)
			}
		}
	}
	return j, record
}

func TestReplay_GivesTheSameBits(t *testing.T) {
	for _, cfg := range []judge.Config{{}, {Sticky: true}, {ErrorTolerance: 0.25, LatencyTolerance: 0.1, CustomTolerance: 0.2, Renew: 300}} {
		for seed := range uint64(5) {
			want, record := recorded(t, cfg, seed)
			entries := 0
			got, err := judge.Replay(cfg, record, func(int, *judge.Judge) { entries++ })
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(want) {
				t.Errorf("%+v: replay came to %+v, want %+v", cfg, got.Verdict(), want.Verdict())
			}
			if got.Verdict() != want.Verdict() || entries != 5*102+1 {
				t.Errorf("%d entries, verdict %+v", entries, got.Verdict())
			}
		}
	}
}

func TestJudge_RefusesWhatAnotherVersionKept(t *testing.T) {
	kept, err := judge.New(judge.Config{}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte{99}, kept[1:]...)
	for name, data := range map[string][]byte{"nothing": nil, "short": kept[:10], "long": append(kept, 0), "another format": other} {
		if err := new(judge.Judge).UnmarshalBinary(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzReplay(f *testing.F) {
	tr := traffic{rnd: seeded(9), share: 0.1, stable: 0.2, candidate: 0.2, median: time.Millisecond}
	f.Add(judge.AppendBatch(judge.AppendCool(judge.AppendRestart(judge.AppendBegin(nil)), 3), tr.batch(20)))
	tr.marked = 0.5
	f.Add(judge.AppendBatch(nil, tr.batch(20)))
	f.Add([]byte("a"))
	f.Fuzz(func(_ *testing.T, record []byte) {
		judge.Replay(judge.Config{}, record, nil)             //nolint // it must not panic
		judge.Replay(judge.Config{Sticky: true}, record, nil) //nolint
	})
}
