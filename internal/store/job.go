package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"time"

	"weir/internal/platform"
)

var jobs = &table[platform.Job]{
	name: "jobs",
	noun: "Job",
	columns: func(j *platform.Job) []column {
		return []column{
			{name: "guid", value: &j.GUID},
			{name: "created_at", value: stamp{&j.CreatedAt}},
			{name: "updated_at", value: stamp{&j.UpdatedAt}},
			{name: "operation", value: &j.Operation},
			{name: "state", value: &j.State},
			{name: "errors", value: jobErrors{&j.Errors}},
			{name: "warnings", value: asJSON{&j.Warnings}},
		}
	},
}

// jobErrors keeps what a person may read of errors; causes are for the log.
type jobErrors struct{ errs *[]*platform.Error }

type jobError struct{ Kind, Title, Msg, Hint string }

// Value implements driver.Valuer.
func (j jobErrors) Value() (driver.Value, error) {
	kept := []jobError{}
	for _, e := range *j.errs {
		kept = append(kept, jobError{string(e.Kind), e.Title, e.Msg, e.Hint})
	}
	b, err := json.Marshal(kept)
	return string(b), err
}

// Scan implements sql.Scanner.
func (j jobErrors) Scan(src any) error {
	var kept []jobError
	if err := (asJSON{&kept}).Scan(src); err != nil {
		return err
	}
	*j.errs = nil
	for _, e := range kept {
		*j.errs = append(*j.errs, &platform.Error{Kind: platform.Kind(e.Kind), Title: e.Title, Msg: e.Msg, Hint: e.Hint})
	}
	return nil
}

// Job returns the job with the given GUID.
func (r Rows) Job(ctx context.Context, guid string) (platform.Job, error) {
	return jobs.get(ctx, r, guid)
}

// InsertJob adds a job.
func (r Rows) InsertJob(ctx context.Context, j platform.Job) error {
	return jobs.insert(ctx, r, j)
}

// UpdateJob rewrites a job. The causes of its errors are not kept.
func (r Rows) UpdateJob(ctx context.Context, j platform.Job) error {
	return jobs.update(ctx, r, j.GUID, j)
}

// FailUnfinishedJobs marks the jobs that were going on when the controller
// ended as failed, and returns how many there were. For the start.
func (r Rows) FailUnfinishedJobs(ctx context.Context) (n int, err error) {
	errs, err := jobErrors{&[]*platform.Error{{
		Kind: platform.KindUnavailable,
		Msg:  "the platform was restarted before the job was done",
		Hint: "try again",
	}}}.Value()
	if err != nil {
		return 0, err
	}
	err = r.run.write(ctx, func(c *conn) error {
		rows, err := c.exec(
			ctx,
			"UPDATE jobs SET state = ?, errors = ?, updated_at = ? WHERE state = ?",
			platform.JobFailed, errs, time.Now().UnixMicro(), platform.JobProcessing,
		)
		n = int(rows)
		return err
	})
	return n, err
}

// SweepJobs removes the jobs that ended before the given time, and returns how
// many there were.
func (r Rows) SweepJobs(ctx context.Context, before time.Time) (n int, err error) {
	return r.sweep(ctx, "jobs", "state <> ? AND updated_at < ?", platform.JobProcessing, micros(before))
}

// sweepAtOnce is how many rows are removed in one transaction: nobody else's
// change waits long for it.
const sweepAtOnce = 500

// sweep removes the rows of a table for which a condition holds, quietly. It
// is done when there are none, or when ctx ends.
func (r Rows) sweep(ctx context.Context, table, condition string, args ...any) (n int, err error) {
	statement := "DELETE FROM " + table + " WHERE seq IN (SELECT seq FROM " + table + " WHERE " + condition + " LIMIT ?)"
	for {
		var rows int64
		err := r.quietly(ctx, func(c *conn) (err error) {
			rows, err = c.exec(ctx, statement, append(args, sweepAtOnce)...)
			return err
		})
		n += int(rows)
		if err != nil || rows < sweepAtOnce {
			return n, err
		}
	}
}
