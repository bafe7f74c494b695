package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	v3 "weir/api/v3"
)

// LogStream calls fn for each line of an app's log as it is written, in the
// order of time, until fn returns an error, ctx ends or (with NoFollow) there
// are no more lines. A connection that breaks is an error; go on from the last
// line's timestamp + 1 with Since.
func (c *Client) LogStream(ctx context.Context, app string, o LogStreamOptions, fn func(v3.LogLine) error) error {
	r := request{
		method: http.MethodGet, path: "/v3/apps/" + app + "/log_stream" + o.query().suffix(),
		header: http.Header{"Accept": {"application/x-ndjson"}},
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var l v3.LogLine
		switch err := dec.Decode(&l); {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF) && o.NoFollow:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		default:
			return fmt.Errorf("reading the log stream: %w", err)
		}
		if err := fn(l); err != nil {
			return err
		}
	}
}

// ReadLogsOptions are the parameters of log-cache's read endpoint.
type ReadLogsOptions struct {
	StartTime, EndTime int64 // nanoseconds; 0: unset
	Limit              int   // 0: 100
	Descending         bool
}

// ReadLogs reads an app's log through the log-cache endpoint.
func (c *Client) ReadLogs(ctx context.Context, app string, o ReadLogsOptions) ([]v3.Envelope, error) {
	q := Query(nil).Set("envelope_types", "LOG")
	if o.StartTime != 0 {
		q = q.Set("start_time", strconv.FormatInt(o.StartTime, 10))
	}
	if o.EndTime != 0 {
		q = q.Set("end_time", strconv.FormatInt(o.EndTime, 10))
	}
	if o.Limit != 0 {
		q = q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Descending {
		q = q.Set("descending", "true")
	}
	var e v3.Envelopes
	err := c.get(ctx, "/api/v1/read/"+app, q, &e)
	return e.Envelopes.Batch, err
}
