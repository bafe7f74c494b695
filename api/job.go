package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// jobPatience is how long the answer to a request waits for its job, so that
// most jobs are done when a client first asks for them.
const jobPatience = 2 * time.Second

// work is what a job does. It goes on when the client that asked for it is
// gone, and ends early only when the platform stops.
type work func(context.Context) (warnings []string, err error)

// task is a job on its way to Run.
type task struct {
	job  platform.Job
	do   work
	done chan<- error // buffered: gets what do returned
}

// runJobs runs jobs, each in a goroutine of its own, until ctx ends; it
// returns when all have ended.
func (a *API) runJobs(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case t := <-a.jobs:
			wg.Go(func() { a.runJob(ctx, t) })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *API) runJob(ctx context.Context, t task) {
	warnings, err := a.guarded(ctx, t)
	j := t.job
	j.State, j.Warnings = platform.JobComplete, warnings
	if err != nil {
		j.State, j.Errors = platform.JobFailed, jobErrors(err)
		a.logger.Log(ctx, levelOf(err), "a job failed", "job", j.GUID, "operation", j.Operation, "err", err)
	}
	// The outcome is written down even when the platform is stopping.
	save, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := a.store.UpdateJob(save, j); err != nil {
		a.logger.Error("could not keep the outcome of a job", "job", j.GUID, "operation", j.Operation, "err", err)
	}
	t.done <- err
}

// guarded runs a job's work and turns a panic into an error.
func (a *API) guarded(ctx context.Context, t task) (warnings []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.logger.Error("a job panicked", "job", t.job.GUID, "operation", t.job.Operation,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return t.do(ctx)
}

// jobErrors returns what a person may read of err: at least one entry.
func jobErrors(err error) []*platform.Error {
	var errs []*platform.Error
	for _, one := range split(err) {
		e, ok := errors.AsType[*platform.Error](one)
		if !ok {
			e = unexpected(one, "")
		}
		errs = append(errs, e)
	}
	return errs
}

// startJob begins a job and waits for it a little. The error is that of
// starting it, or of the job if it failed while we waited and failAtOnce says
// that the client should hear of it right away.
func (a *API) startJob(ctx context.Context, operation string, failAtOnce bool, do work) (guid string, err error) {
	now := time.Now()
	j := platform.Job{
		GUID: platform.NewGUID(), Operation: operation, State: platform.JobProcessing,
		CreatedAt: now, UpdatedAt: now,
	}
	if err := a.store.InsertJob(ctx, j); err != nil {
		return "", err
	}
	done := make(chan error, 1) // so that a job nobody waits for can end
	select {
	case a.jobs <- task{job: j, do: do, done: done}:
	case <-a.stopped:
		return "", &platform.Error{Kind: platform.KindUnavailable, Msg: "the platform is stopping", Hint: "try again"}
	case <-ctx.Done():
		return "", ctx.Err()
	}
	patience := time.NewTimer(jobPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		if err != nil && failAtOnce {
			return "", err
		}
	case <-patience.C:
	case <-ctx.Done():
	}
	return j.GUID, nil
}

// deleting is the answer to a DELETE: a job that does it.
func (a *API) deleting(ctx context.Context, c call, operation string, do func(context.Context) error) (reply, error) {
	guid, err := a.startJob(ctx, operation, true, func(ctx context.Context) ([]string, error) { return nil, do(ctx) })
	return c.accepted(guid), err
}

// accepted points to a job.
func (c call) accepted(job string) reply {
	return reply{status: http.StatusAccepted}.with("Location", string(c.urls)+"/v3/jobs/"+job)
}

type getJob struct {
	GUID string `path:"guid"`
	Wait *int   `query:"wait"`
}

func (a *API) getJob(ctx context.Context, c call, req getJob) (reply, error) {
	j, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.store.Job, func(j platform.Job) bool {
		return j.State != platform.JobProcessing
	})
	return ok(c.job(j)), err
}

func (u urls) job(j platform.Job) v3.Job {
	out := v3.Job{
		Resource:  v3.Resource{GUID: j.GUID, CreatedAt: v3.At(j.CreatedAt), UpdatedAt: v3.At(j.UpdatedAt)},
		Operation: j.Operation, State: j.State,
		Errors: []v3.Error{}, Warnings: []v3.Warning{},
		Links: v3.Links{"self": u.link("/v3/jobs/" + j.GUID)},
	}
	for _, e := range j.Errors {
		_, one := presentOne(e, "")
		out.Errors = append(out.Errors, one)
	}
	for _, w := range j.Warnings {
		out.Warnings = append(out.Warnings, v3.Warning{Detail: w})
	}
	return out
}
