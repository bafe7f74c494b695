package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// Limits on how the router may treat the requests of an app.
const (
	maxDrain       = 24 * 60 * 60 // seconds
	maxPause       = 600
	defaultPause   = 30
	maxMaintenance = 256 << 10 // bytes of a page
	maxAllow       = 100
)

// UpdateTraffic lets change edit how the router treats an app's requests and
// returns once the router runs with it, and with the number of its table. What
// is so already takes none, nor does the time to drain, which no table has.
func (e *Engine) UpdateTraffic(ctx context.Context, who platform.Actor, guid string, change func(*platform.Traffic) error) (app platform.App, table uint64, err error) {
	var text string
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if app, err = tx.App(ctx, guid); err != nil {
			return err
		}
		was := app.Traffic
		app.Traffic = cloneTraffic(was)
		if err := change(&app.Traffic); err != nil {
			return err
		}
		if err := checkTraffic(&app.Traffic); err != nil {
			return err
		}
		held := keepHold(was, &app.Traffic)
		if held && was.Drain == app.Traffic.Drain {
			return nil
		}
		if !held {
			if table, err = tx.NextTableNumber(ctx); err != nil {
				return err
			}
		}
		if err := tx.UpdateApp(ctx, app); err != nil {
			return err
		}
		text = trafficText(was, app.Traffic)
		return e.event(ctx, tx, who, "audit.app.traffic.update", appTarget(app), map[string]any{"text": text, "table": table})
	})
	if err != nil {
		return platform.App{}, 0, err
	}
	switch {
	case text != "" && table > 0:
		e.line(guid, "API", "%s (table %d)", text, table)
	case text != "":
		e.line(guid, "API", "%s", text)
	}
	if err := e.publishedAs(ctx, []string{guid}, nil, table); err != nil {
		return app, table, err
	}
	return app, cmp.Or(table, e.Table()), nil
}

// cloneTraffic returns a copy that can be edited.
func cloneTraffic(t platform.Traffic) platform.Traffic {
	if t.Pause != nil {
		p := *t.Pause
		t.Pause = &p
	}
	if t.Maintenance != nil {
		m := *t.Maintenance
		m.Allow = slices.Clone(m.Allow)
		t.Maintenance = &m
	}
	return t
}

// keepHold reports whether pause and maintenance stay what they were, and then
// leaves them their beginning.
func keepHold(was platform.Traffic, is *platform.Traffic) bool {
	a, b := was.Pause, is.Pause
	if (a == nil) != (b == nil) || a != nil && a.Max != b.Max {
		return false
	}
	m, n := was.Maintenance, is.Maintenance
	if (m == nil) != (n == nil) || m != nil && (m.Page != n.Page || m.RetryAfter != n.RetryAfter || !slices.Equal(m.Allow, n.Allow)) {
		return false
	}
	is.Pause, is.Maintenance = a, m
	return true
}

// checkTraffic completes what was asked for and refuses what cannot be.
func checkTraffic(t *platform.Traffic) error {
	now := time.Now().UTC()
	if t.Drain < 0 || t.Drain > maxDrain {
		return platform.Invalidf("drain must be between 0 and %d seconds (got %d)", maxDrain, t.Drain)
	}
	if p := t.Pause; p != nil {
		if p.Max == 0 {
			p.Max = defaultPause
		}
		if p.Max < 1 || p.Max > maxPause {
			return platform.Invalidf("a pause holds a request back for 1 to %d seconds (got %d)", maxPause, p.Max)
		}
		if p.Since.IsZero() {
			p.Since = now
		}
	}
	m := t.Maintenance
	if m == nil {
		return nil
	}
	if m.Since.IsZero() {
		m.Since = now
	}
	switch {
	case len(m.Page) > maxMaintenance:
		return platform.Invalidf("a maintenance page has at most %d bytes (got %d)", maxMaintenance, len(m.Page))
	case len(m.Allow) > maxAllow:
		return platform.Invalidf("at most %d can be let in during maintenance (got %d)", maxAllow, len(m.Allow))
	case m.RetryAfter < 0:
		return platform.Invalidf("retry after must not be negative (got %d)", m.RetryAfter)
	}
	for i, a := range m.Allow {
		if ip, err := netip.ParseAddr(a); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			m.Allow[i] = netip.PrefixFrom(ip, ip.BitLen()).String()
		}
		header, isHeader := strings.CutPrefix(a, "header:")
		if isHeader && !strings.Contains(header, "=") || router.CheckAllow(m.Allow[i]) != nil {
			return &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("%q is nobody to let in", a),
				Hint: "name a network such as 192.0.2.0/24, or a header: header:NAME=VALUE",
			}
		}
	}
	return nil
}

// trafficText says what changed, for the app's log.
func trafficText(was, is platform.Traffic) string {
	var parts []string
	switch {
	case was.Pause == nil && is.Pause != nil:
		parts = append(parts, fmt.Sprintf("Paused: requests wait up to %d s", is.Pause.Max))
	case was.Pause != nil && is.Pause == nil:
		parts = append(parts, "Resumed")
	}
	switch {
	case was.Maintenance == nil && is.Maintenance != nil:
		parts = append(parts, "Maintenance began")
	case was.Maintenance != nil && is.Maintenance == nil:
		parts = append(parts, "Maintenance ended")
	}
	if was.Drain != is.Drain {
		parts = append(parts, fmt.Sprintf("Instances that leave have %d s for their requests", is.Drain))
	}
	return strings.Join(parts, "; ")
}

// Quiesce waits until no request of an app is in flight, at most for timeout.
// It returns false if there still are some then.
func (e *Engine) Quiesce(ctx context.Context, app string, timeout time.Duration) (bool, error) {
	rows, _, err := e.store.Instances(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	if err != nil {
		return false, err
	}
	var guids []string
	for _, i := range slices.DeleteFunc(rows, func(i platform.Instance) bool { return i.Host == "" }) {
		guids = append(guids, i.GUID)
	}
	if len(guids) == 0 {
		return true, nil
	}
	err = e.cfg.Router.Drain(ctx, guids, timeout)
	if errors.Is(err, router.ErrBusy) {
		return false, nil
	}
	return err == nil, err
}
