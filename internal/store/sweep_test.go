package store_test

import (
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

func TestSweep_JobsThatEndedLongAgo(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	now := time.Now()
	job := func(state string, age time.Duration) platform.Job {
		at := now.Add(-age)
		j := platform.Job{GUID: platform.NewGUID(), CreatedAt: at, UpdatedAt: at, Operation: "app.delete", State: state}
		must(t, s.InsertJob(ctx, j))
		return j
	}
	old, going, young := job(platform.JobComplete, 48*time.Hour), job(platform.JobProcessing, 48*time.Hour), job(platform.JobFailed, time.Hour)
	for _, want := range []int{1, 0} {
		if n, err := s.SweepJobs(ctx, now.Add(-24*time.Hour)); n != want || err != nil {
			t.Errorf("swept %d jobs, %v; want %d", n, err, want)
		}
	}
	if _, err := s.Job(ctx, old.GUID); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("the old job: %v", err)
	}
	for _, j := range []platform.Job{going, young} {
		if _, err := s.Job(ctx, j.GUID); err != nil {
			t.Errorf("a job %s: %v", j.State, err)
		}
	}
}

func TestInsertEvent_KnowsTheOrganizationOfItsSpace(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	app := insertApp(t, s, "shop")
	space, err := s.Space(ctx, app.SpaceGUID)
	must(t, err)
	for spaceGUID, want := range map[string]string{app.SpaceGUID: space.OrganizationGUID, "gone": "", "": ""} {
		e := platform.Event{Resource: platform.NewResource(start), TargetGUID: app.GUID, SpaceGUID: spaceGUID}
		must(t, s.InsertEvent(ctx, e))
		if got, err := s.Event(ctx, e.GUID); err != nil || got.OrgGUID != want {
			t.Errorf("of space %q: %q, %v", spaceGUID, got.OrgGUID, err)
		}
	}
}

func TestSweep_EventsOldOrTooMany(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	now := time.Now()
	event := func(target string, age time.Duration) string {
		e := platform.Event{Resource: platform.NewResource(now.Add(-age)), Type: "x", TargetGUID: target}
		must(t, s.InsertEvent(ctx, e))
		return e.GUID
	}
	event("quiet", 100*24*time.Hour)
	quiet := event("quiet", time.Hour)
	var noisy []string
	must(t, s.Tx(ctx, func(tx *store.Tx) error {
		for range 1200 { // more than are removed at once
			e := platform.Event{Resource: platform.NewResource(now), Type: "x", TargetGUID: "noisy"}
			if err := tx.InsertEvent(ctx, e); err != nil {
				return err
			}
			noisy = append(noisy, e.GUID)
		}
		return nil
	}))
	if n, err := s.SweepEvents(ctx, now.Add(-90*24*time.Hour), 10); n != 1+1190 || err != nil {
		t.Errorf("swept %d events, %v", n, err)
	}
	left, _, err := s.Events(ctx, store.Query{})
	must(t, err)
	want := append([]string{quiet}, noisy[1190:]...)
	if len(left) != len(want) {
		t.Fatalf("%d events are left, want %d", len(left), len(want))
	}
	for _, e := range left {
		if e.GUID == quiet {
			continue
		}
		found := false
		for _, guid := range want[1:] {
			found = found || guid == e.GUID
		}
		if !found {
			t.Errorf("event %s is left", e.GUID)
		}
	}
}
