package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform"
)

// The hooks of a plan.
const (
	hookBeforeStart = "before-start"
	hookBeforeStep  = "before-step"
	hookAfterStep   = "after-step"
	hookOnRollback  = "on-rollback"
	hookOnDone      = "on-done"
)

var hookNames = []string{hookBeforeStart, hookBeforeStep, hookAfterStep, hookOnRollback, hookOnDone}

// callTimeout bounds one call of a hook, a gate or a probe.
const callTimeout = 10 * time.Second

// told is what hooks and gates get as JSON.
type told struct {
	Hook    string                `json:"hook"`
	App     string                `json:"app"` // GUID
	AppName string                `json:"app_name"`
	Rollout string                `json:"rollout"`
	Number  int                   `json:"number"`
	From    string                `json:"from"`
	To      string                `json:"to"`
	State   platform.RolloutState `json:"state"`
	Step    int                   `json:"step"`
	Reason  string                `json:"reason,omitempty"`
}

// post tells a URL and returns its status and the beginning of what it says.
func post(ctx context.Context, client *http.Client, to string, what told) (status int, text string, err error) {
	body, err := json.Marshal(what)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, "", plainly(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 200))
	return res.StatusCode, strings.TrimSpace(strings.ToValidUTF8(string(answer), "?")), nil
}

// plainly says why there was no answer, to those who know whom they asked.
func plainly(err error) error {
	e, ok := errors.AsType[*url.Error](err)
	switch {
	case !ok:
		return err
	case e.Timeout():
		return fmt.Errorf("no answer within %s", callTimeout)
	}
	return e.Err
}

// parseProbe reads "/health" or "/health=200,204". Without statuses 200 to 399
// are good.
func parseProbe(text string) (path string, good func(int) bool, err error) {
	path, list, has := strings.Cut(text, "=")
	if !strings.HasPrefix(path, "/") {
		return "", nil, platform.Invalidf("probe %q does not begin with /", text)
	}
	if !has {
		return path, func(s int) bool { return s >= 200 && s < 400 }, nil
	}
	statuses := map[int]bool{}
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 100 || n > 599 {
			return "", nil, platform.Invalidf("probe %q: %q is no status", text, s)
		}
		statuses[n] = true
	}
	return path, func(s int) bool { return statuses[s] }, nil
}

// probe asks one instance, and says what is wrong with its answer.
func probe(ctx context.Context, client *http.Client, addr, host, text string) error {
	path, good, err := parseProbe(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	if host != "" {
		req.Host = host
	}
	req.Header.Set("User-Agent", "weir-probe")
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, plainly(err))
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if !good(res.StatusCode) {
		return fmt.Errorf("GET %s answered %d", path, res.StatusCode)
	}
	return nil
}
