package router

import (
	"context"
	"net/http"
	"time"
)

// Evidence returns what the router has counted about versions. It answers at
// once if there is a bad event after those q names, else after q.WaitMS.
func (c *Client) Evidence(ctx context.Context, q EvidenceQuery) (Evidence, error) {
	var e Evidence
	_, err := c.call(ctx, http.MethodPost, "/evidence", q, &e)
	return e, err
}

func (c *controlServer) evidence(w http.ResponseWriter, req *http.Request) {
	var q EvidenceQuery
	if !read(w, req, &q) {
		return
	}
	ctx, cancel := c.untilStop(req.Context())
	defer cancel()
	answer(w, http.StatusOK, c.r.evidence.ask(ctx, q))
}

// untilStop returns a context that ends with the router too.
func (c *controlServer) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, maxEvidenceWait+time.Second)
	go func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
