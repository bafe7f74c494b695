package release

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/router"
)

// mark counts the answers of a version that are marked among its requests.
func (g *stage) mark(v *platform.VersionStatus, c *router.VersionEvidence) {
	before := c.Marked
	c.Marked = uint64(float64(c.Requests) * g.marks[v.Label])
	for range c.Marked - before {
		g.bad[g.split] = append(g.bad[g.split], router.BadEvent{
			Seq: uint64(len(g.bad[g.split]) + 1), Version: v.GUID, RequestID: fmt.Sprintf("id-%d", len(g.bad[g.split])),
			Method: "POST", Path: "/checkout", Status: 200, Event: "checkout-failed", At: g.now,
		})
	}
}

func TestRollout_AVersionWhoseAnswersAreMarkedIsTakenBack(t *testing.T) {
	g := newStage(t)
	g.marks = map[string]float64{"v1": 0.001, "v2": 0.2}
	e, _ := g.engine()
	row := g.start(e, quick)
	row = g.until(row.GUID, platform.RolloutRolledBack)
	for _, want := range []string{"custom: v2 marked ", " answers (", "v1 ", "; evidence ", "≥ 500"} {
		if !strings.Contains(row.Reason, want) {
			t.Errorf("it was taken back for %q, want %q in it", row.Reason, want)
		}
	}
	s, err := e.Status(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if why := s.Why(); !strings.Contains(why, "at most 1 of 500 rollouts") || !strings.Contains(why, "look at POST /checkout first, whose answer v2 marked as checkout-failed") {
		t.Errorf("why: %s", why)
	}
	marked, failed := 0, 0
	for _, b := range s.Progress.FirstBad {
		switch {
		case b.Candidate && b.Event == "checkout-failed" && b.Status == 200:
			marked++
		case b.Candidate && b.Event == "":
			failed++
		}
	}
	if marked != firstBadKept || failed == 0 {
		t.Errorf("%d marked and %d failed requests are remembered: %+v", marked, failed, s.Progress.FirstBad)
	}
	r, err := e.Replay(t.Context(), row.GUID)
	if err != nil || !r.Same || r.Verdict.Cause != judge.Custom || r.Evidence["custom"].Evidence < 500 {
		t.Errorf("replay: %v, %+v", err, r)
	}
}

func TestRollout_AVersionThatMarksNoMoreIsSpared(t *testing.T) {
	g := newStage(t)
	g.marks = map[string]float64{"v1": 0.02, "v2": 0.02}
	e, _ := g.engine()
	row := g.start(e, quick)
	row = g.until(row.GUID, platform.RolloutDone)
	s, err := e.Status(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if why := s.Why(); !strings.Contains(why, "; v2 marked ") {
		t.Errorf("why: %s", why)
	}
}

func TestRollout_WhatOthersReportCounts(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	monitor := platform.Actor{Name: "monitor"}
	for range 10 {
		if _, err := e.Report(t.Context(), monitor, row.GUID, Report{Versions: map[string]uint64{"v1": 1, row.ToGUID: 2}, Event: "refund", Reason: "from the till"}); err != nil {
			break // it is over
		}
	}
	row = g.until(row.GUID, platform.RolloutRolledBack)
	if !strings.HasPrefix(row.Reason, "custom: v2 had ") || !strings.Contains(row.Reason, "of them were reported)") {
		t.Errorf("it was taken back for %q", row.Reason)
	}
	s, err := e.Status(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Progress
	if last := p.Reports[len(p.Reports)-1]; last.By != "monitor" || last.Event != "refund" || last.Stable != 1 || last.Candidate != 2 || len(p.Reports) > reportsShown {
		t.Errorf("remembered are %+v", p.Reports)
	}
	if p.All[1].Custom != p.Custom[1] || p.Custom[1] < 2*p.Custom[0] {
		t.Errorf("counted are %+v", p.Custom)
	}
	if r, err := e.Replay(t.Context(), row.GUID); err != nil || !r.Same {
		t.Errorf("replay: %v, the same: %v", err, r.Same)
	}
}

func TestReport_RefusesWhatCannotBeCompared(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	if _, err := e.ReportToApp(t.Context(), platform.System, g.app.GUID, Report{Versions: map[string]uint64{"v1": 1}}); err == nil || !strings.Contains(err.Error(), "no rollout on its way") {
		t.Errorf("without a rollout: %v", err)
	}
	plan := strings.Replace(strings.Replace(quick, "20s", "10h", 1), "{", `{"judge":{"custom":["refund"]},`, 1)
	row := g.start(e, plan)
	g.until(row.GUID, platform.RolloutBaking)
	for _, tt := range []struct {
		versions map[string]uint64
		event    string
		want     string
	}{
		{map[string]uint64{"v3": 1}, "refund", `version "v3" has no part in rollout r-1 of web`},
		{map[string]uint64{"v2": 3}, "refund", "does not say how many events v1 had"},
		{map[string]uint64{"v1": 3}, "refund", "does not say how many events v2 had"},
		{map[string]uint64{"v2": 0, "v1": 0}, "refund", "tells of no event"},
		{nil, "refund", "tells of no event"},
		{map[string]uint64{"v2": 1, row.ToGUID: 1}, "refund", "named twice"},
		{map[string]uint64{"v2": 1, "v1": maxReported + 1}, "refund", "at most 100000 events"},
		{map[string]uint64{"v2": 1}, "complaint", `does not count events called "complaint"`},
		{map[string]uint64{"v2": 1}, "", "does not count events without a name"},
		{map[string]uint64{"v2": 1}, "a,b", "an event has a name such as"},
	} {
		_, err := e.ReportToApp(t.Context(), platform.System, g.app.GUID, Report{Versions: tt.versions, Event: tt.event})
		if r, ok := errors.AsType[*platform.Error](err); !ok || !strings.Contains(r.Msg, tt.want) {
			t.Errorf("%v %q: %v, want %q", tt.versions, tt.event, err, tt.want)
		}
	}
	for _, fine := range []map[string]uint64{{"v2": 1}, {"v1": 1}, {"v1": 3, "v2": 0}} {
		if _, err := e.ReportToApp(t.Context(), platform.System, g.app.GUID, Report{Versions: fine, Event: "Refund"}); err != nil {
			t.Errorf("%v: %v", fine, err)
		}
	}
}

func TestParsePlan_SharesOnePercentAmongTheStreams(t *testing.T) {
	for _, tt := range []struct {
		plan                   string
		error, latency, custom float64
		refused                string
	}{
		{plan: `{}`, error: 0.005, latency: 0.003, custom: 0.002},
		{plan: `{"judge":{"custom":[]}}`, error: 0.005, latency: 0.003, custom: 0.002},
		{plan: `{"judge":{"custom":{"alpha":0.005}}}`, error: 0.003125, latency: 0.001875, custom: 0.005},
		{plan: `{"judge":{"error":{"alpha":0.001}}}`, error: 0.001, latency: 0.003, custom: 0.002},
		{plan: `{"judge":{"error":{"alpha":0.01},"latency":{"off":true}}}`, error: 0.01, latency: -1, custom: -1},
		{plan: `{"judge":{"error":{"alpha":0.01},"custom":["refund"]}}`, refused: "nothing is left for custom"},
		{plan: `{"judge":{"custom":{"alpha":0.008},"error":{"alpha":0.005}}}`, refused: "1.3% together"},
		{plan: `{"judge":{"custom":["a,b"]}}`, refused: "an event has a name such as"},
		{plan: `{"judge":{"custom":{"event":"a"}}}`, refused: `there is no key "event"`},
		{plan: `{"judge":{"custom":5}}`, refused: "judge.custom: a block such as {alpha: 0.002, events: [checkout-failed]} is wanted, not a number"},
	} {
		p, err := ParsePlan([]byte(tt.plan))
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: %v, want %q", tt.plan, err, tt.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.plan, err)
			continue
		}
		near := func(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 }
		if c := p.JudgeConfig(false, 1); !near(c.ErrorAlpha, tt.error) || !near(c.LatencyAlpha, tt.latency) || !near(c.CustomAlpha, tt.custom) {
			t.Errorf("%s: %v %v %v", tt.plan, c.ErrorAlpha, c.LatencyAlpha, c.CustomAlpha)
		}
	}
	p, err := ParsePlan([]byte(`{"judge":{"custom":{"tolerate":"10%","events":["refund"]}}}`))
	if err != nil || p.JudgeConfig(false, 1).CustomTolerance != 0.1 || p.Judge.counting().Events[0] != "refund" {
		t.Errorf("%v, %+v", err, p.Judge)
	}
}
