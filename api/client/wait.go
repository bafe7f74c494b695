package client

import (
	"context"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	v3 "weir/api/v3"
)

// waitSeconds is how long the server may hold one answer back.
const waitSeconds = 30

// pollPause keeps a client from asking too often should the server answer at
// once each time.
const pollPause = 500 * time.Millisecond

// follow reads the resource at p until done says so. The server answers when
// the resource reached an end state, so that nothing is polled in seconds.
func follow[T any](ctx context.Context, c *Client, p string, done func(T) bool) (T, error) {
	q := Query(nil).Set("wait", strconv.Itoa(waitSeconds))
	for {
		asked := time.Now()
		var v T
		if err := c.get(ctx, p, q, &v); err != nil || done(v) {
			return v, err
		}
		if err := sleep(ctx, pollPause-time.Since(asked)); err != nil {
			return v, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WaitPackage waits until a package is READY, FAILED or EXPIRED.
func (c *Client) WaitPackage(ctx context.Context, guid string) (v3.Package, error) {
	return follow(ctx, c, "/v3/packages/"+guid, func(p v3.Package) bool {
		return p.State == v3.PackageReady || p.State == v3.PackageFailed || p.State == v3.PackageExpired
	})
}

// WaitBuild waits until a build is STAGED or FAILED.
func (c *Client) WaitBuild(ctx context.Context, guid string) (v3.Build, error) {
	return follow(ctx, c, "/v3/builds/"+guid, func(b v3.Build) bool { return b.State != v3.BuildStaging })
}

// WaitDeployment waits until a deployment is FINALIZED or PAUSED.
func (c *Client) WaitDeployment(ctx context.Context, guid string) (v3.Deployment, error) {
	return follow(ctx, c, "/v3/deployments/"+guid, func(d v3.Deployment) bool {
		return d.Status.Value == v3.DeploymentFinalized || d.Status.Reason == v3.ReasonPaused
	})
}

// WaitJob waits until a job is done. The error is a *JobError if it failed.
// An empty guid is done already.
func (c *Client) WaitJob(ctx context.Context, guid string) (v3.Job, error) {
	if guid == "" {
		return v3.Job{}, nil
	}
	j, err := follow(ctx, c, "/v3/jobs/"+guid, func(j v3.Job) bool {
		return j.State == v3.JobComplete || j.State == v3.JobFailed
	})
	if err == nil && j.State == v3.JobFailed {
		err = &JobError{Operation: j.Operation, Errors: j.Errors}
	}
	return j, err
}

// startJob sends a request that is answered with a job, and returns its GUID.
func (c *Client) startJob(ctx context.Context, method, p string, body any) (string, error) {
	resp, err := c.do(ctx, method, p, body, nil)
	return jobOf(resp), err
}

// jobOf returns the GUID of the job that an answer points to, or "".
func jobOf(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	loc := resp.Header.Get("Location")
	if !strings.Contains(loc, "/v3/jobs/") {
		return ""
	}
	return path.Base(loc)
}

// fileName returns the name the server gave a download, or "".
func fileName(resp *http.Response) string {
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}
