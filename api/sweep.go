package api

import (
	"context"
	"errors"
	"time"
)

// How long is kept what nobody asks for any more: a job that has ended, and
// the events of an app, of which there are never more than keepEventsOf.
const (
	keepJobs     = 24 * time.Hour
	keepEvents   = 90 * 24 * time.Hour
	keepEventsOf = 10_000
	sweepEvery   = time.Hour
)

// sweepNowAndThen removes old jobs and events until ctx ends, and keeps room
// for changes while the disk is full.
func (a *API) sweepNowAndThen(ctx context.Context) {
	for {
		if err := a.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			a.logger.Warn("old jobs and events were not removed", "err", err)
		}
		if err := a.store.KeepRoom(ctx); err != nil && ctx.Err() == nil {
			a.logger.Warn("the database has no room for a time when the disk is full", "err", err)
		}
		select {
		case <-time.After(sweepEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (a *API) sweep(ctx context.Context, now time.Time) error {
	jobs, jobsErr := a.store.SweepJobs(ctx, now.Add(-keepJobs))
	events, eventsErr := a.store.SweepEvents(ctx, now.Add(-keepEvents), keepEventsOf)
	if jobs+events > 0 {
		a.logger.Info("old jobs and events were removed", "jobs", jobs, "events", events)
	}
	return errors.Join(jobsErr, eventsErr)
}
