package router

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

type shadowRequest struct {
	WaitMS int64 `json:"wait_ms"`
}

type shadowResponse struct {
	Pairs  []ShadowPair   `json:"pairs"`
	Counts []ShadowCounts `json:"counts"`
}

// Shadows returns the pairs that came since the last call, and what became of
// all copies so far. It waits for the first pair, at most 30 s. What it
// returned the router forgets: there is one reader.
func (c *Client) Shadows(ctx context.Context, wait time.Duration) (pairs []ShadowPair, counts []ShadowCounts, err error) {
	var res shadowResponse
	_, err = c.call(ctx, http.MethodPost, "/shadows", shadowRequest{wait.Milliseconds()}, &res)
	return res.Pairs, res.Counts, err
}

func (c *controlServer) shadows(w http.ResponseWriter, req *http.Request) {
	var q shadowRequest
	if !read(w, req, &q) {
		return
	}
	ctx, cancel := c.untilStop(req.Context())
	defer cancel()
	var res shadowResponse
	res.Pairs, res.Counts = c.r.shadows.fetch(ctx, min(time.Duration(q.WaitMS)*time.Millisecond, maxEvidenceWait))
	slices.SortFunc(res.Counts, func(a, b ShadowCounts) int { return strings.Compare(a.App+a.Version, b.App+b.Version) })
	answer(w, http.StatusOK, res)
}
