package judge_test

import (
	"bytes"
	"testing"
	"time"

	"weir/internal/judge"
)

// One in a hundred of every answer is marked, whose ever: the evidence never
// reaches the limit more often than promised, at a share that grows.
func TestJudge_SparesAVersionThatMarksNoMoreThanTheOther(t *testing.T) {
	const rollouts, alpha = 300, 0.02
	rejected := 0
	for seed := range uint64(rollouts) {
		j := judge.New(judge.Config{CustomAlpha: alpha, ErrorAlpha: -1, LatencyAlpha: -1})
		tr := traffic{rnd: seeded(seed), marked: 0.01, median: time.Millisecond}
		for _, share := range []float64{0.01, 0.05, 0.25, 0.5} {
			tr.share = share
			j.Begin()
			for range 40 {
				j.Add(tr.batch(50))
			}
		}
		if j.Verdict().Rejected {
			rejected++
		}
	}
	if rejected > 2*alpha*rollouts {
		t.Errorf("%d of %d good versions were rejected, promised are %v", rejected, rollouts, alpha*rollouts)
	}
}

func TestJudge_CountsMarksOfAStickyClientOnceAndApartFromItsFailures(t *testing.T) {
	j := judge.New(judge.Config{Sticky: true})
	j.Begin()
	of := []judge.BadClient{{Client: 42, Candidate: true}}
	for range 1000 {
		j.Add(&judge.Batch{Share: 0.05, Candidate: judge.Counts{Requests: 1, Bad: 1, Marked: 1}, BadClients: of, MarkedClients: of})
	}
	v := j.Verdict()
	if v.Rejected {
		t.Error("one client was enough to reject a version")
	}
	for _, s := range []judge.Stream{judge.Errors, judge.Custom} {
		if e := v.Findings[s].Evidence; e <= 1 {
			t.Errorf("the client's first of %v says nothing: evidence %v", s, e)
		}
	}
}

func TestJudge_ToleratesMarksAsItIsTold(t *testing.T) {
	b := judge.Batch{Share: 0.5, Stable: judge.Counts{Requests: 1000, Marked: 100}, Candidate: judge.Counts{Requests: 1000, Marked: 180}}
	if v := judge.New(judge.Config{}).Add(&b); !v.Rejected || v.Cause != judge.Custom {
		t.Errorf("not rejected: %+v", v)
	}
	if v := judge.New(judge.Config{CustomTolerance: 1}).Add(&b); v.Rejected {
		t.Errorf("rejected for what is tolerated: %+v", v)
	}
}

// A record from before answers could be marked is read as ever, and one without
// any is written as ever.
func TestReplay_ReadsABatchWithoutMarksAsBefore(t *testing.T) {
	b := judge.Batch{Share: 0.5, Stable: judge.Counts{Requests: 3, Bad: 1}, Candidate: judge.Counts{Requests: 2, Custom: 1}}
	got := judge.AppendBatch(nil, &b)
	want := []byte{'a', 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 3, 1, 0, 0, 2, 0, 1, 0, 0}
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// What was kept by format 2 is what is kept now without the tolerance at the end.
func TestJudge_ReadsWhatTheFormatBeforeKept(t *testing.T) {
	j := judge.New(judge.Config{})
	j.Begin()
	j.Add(&judge.Batch{Share: 0.5, Candidate: judge.Counts{Requests: 2, Bad: 2}})
	kept, err := j.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	old := append([]byte{2}, kept[1:len(kept)-8]...)
	var got judge.Judge
	if err := got.UnmarshalBinary(old); err != nil {
		t.Fatal(err)
	}
	if !got.Equal(j) {
		t.Error("it knows something else")
	}
}
