package cli

import (
	"context"
	"strconv"
	"strings"

	v3 "weir/api/v3"
)

// report reads what is reported: "v2=3 v1=57", or "v2" for one event.
func (c *call) report() (r v3.EventReport, err error) {
	const instead = "weir rollout report web v2=3 v1=57, or weir rollout report web v2 for a single event"
	r = v3.EventReport{Versions: map[string]uint64{}, Event: c.String("event"), Reason: c.String("reason")}
	for _, a := range c.args[min(2, len(c.args)):] {
		version, count, counted := strings.Cut(a, "=")
		n := uint64(1)
		if counted {
			if n, err = strconv.ParseUint(count, 10, 64); err != nil {
				return r, withHint(usagef("%q is no number of events", count), instead)
			}
		}
		if _, twice := r.Versions[version]; version == "" || twice {
			return r, withHint(usagef("%q does not name another version", a), instead)
		}
		r.Versions[version] = n
	}
	if len(r.Versions) == 0 {
		return r, withHint(usagef("of which version there were events is not said"), instead)
	}
	return r, nil
}

func (c *call) rolloutReport(ctx context.Context, r *rolloutCall) error {
	got, err := r.ReportToRollout(ctx, r.r.GUID, r.report)
	if err != nil {
		return err
	}
	return c.showRollout(r.app.Name, got)
}
