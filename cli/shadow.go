package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func shadowCommands() []*command {
	return []*command{{
		name: "shadow", args: "APP[:VERSION] [PERCENT]", category: catVersions,
		usage: "let a version get copies of the requests, or see how its answers differ",
		examples: []string{
			"shadow web:v2", "shadow web:v2 20%", "shadow web --report", "shadow web:v2 --ignore '$.ts' --ignore header:X-Node",
			"shadow web:v2 --methods GET,POST --except-paths /pay,/login", "shadow web:v2 --off",
		},
		about: "A shadow gets a copy of each request, or of a share of them, and its answers reach nobody; they are compared with those " +
			"of the main version. Only GET, HEAD and OPTIONS are copied unless --methods or --all-methods says otherwise. --report shows what differs: fields that " +
			"differ more than the main version differs from itself are marked; noise is what differs between two of its own answers. --off makes it an ordinary version without requests. " +
			"weir map-route APP DOMAIN --shadow lets another app get the copies, whose report and settings are its main version's. weir push APP --version v2 --shadow makes one from the start, and has the same flags for what is copied and compared.",
		flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "report", Usage: "show what comparing the answers has found"},
			&cli.BoolFlag{Name: "reset", Usage: "begin the report anew"},
			&cli.BoolFlag{Name: "off", Usage: "no copies any more"},
			forceFlag(),
		}, copyFlags()),
		run: runShadow,
	}}
}

func runShadow(ctx context.Context, c *call) error {
	name, label := splitRef(c.arg(0))
	share := c.arg(1)
	if label == "" && share != "" && !strings.HasSuffix(share, "%") { // weir shadow APP VERSION
		label, share = share, ""
	}
	s, _, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	v, routes, err := s.shadowOf(ctx, &f, label)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("reset"):
		r, err := s.ResetShadowReport(ctx, v.GUID)
		if err != nil {
			return err
		}
		return c.showReport(f.ref(v), r)
	case c.Bool("report"):
		r, err := s.ShadowReport(ctx, v.GUID)
		if err != nil {
			return err
		}
		return c.showReport(f.ref(v), r)
	}
	u, err := c.shadowUpdate(v, share)
	if err == nil && len(routes) > 0 {
		u, err = c.ofRoutes(u, name, share, routes)
	}
	if err != nil {
		return err
	}
	if u.Shadow != nil && !changesThings(v.Shadow) && !c.Bool("force") {
		if err := c.confirmCopies(ctx, *u.Shadow, f.ref(v)); err != nil {
			return declined(c, err)
		}
	}
	if v, err = s.UpdateVersion(ctx, v.GUID, u); err != nil {
		return err
	}
	if f.versions, err = s.AppVersions(ctx, f.app.GUID); err != nil {
		return err
	}
	split, err := s.Split(ctx, f.app.GUID)
	if err != nil {
		return err
	}
	rows := s.versionRows(ctx, name, []v3.Version{v})
	return c.out.print("AppVersion", map[string]any{"version": rows[0], "table": split.Table}, []string{f.ref(v)}, func(p *page) {
		drawVersions(p, s.versionRows(ctx, name, f.versions))
		p.blank()
		p.line(fmt.Sprintf("table %d", split.Table))
	})
}

// shadowUpdate is what the flags ask to be changed.
func (c *call) shadowUpdate(v v3.Version, share string) (v3.VersionUpdate, error) {
	if c.Bool("off") {
		if share != "" {
			return v3.VersionUpdate{}, usagef("%s and --off exclude each other", share)
		}
		mode := v3.ModeLive
		return v3.VersionUpdate{Mode: &mode}, nil
	}
	n := 100
	if v.Mode == v3.ModeShadow {
		n = v.ShadowPercent
	}
	if share != "" {
		var err error
		if n, err = strconv.Atoi(strings.TrimSuffix(share, "%")); err != nil || n < 1 || n > 100 {
			return v3.VersionUpdate{}, usagef("%q is no percentage from 1%% to 100%%", share)
		}
	}
	mode := v3.ModeShadow
	options, err := c.copyOptions(v.Shadow)
	return v3.VersionUpdate{Mode: &mode, ShadowPercent: &n, Shadow: options}, err
}

// showReport draws the report of the version ref names.
func (c *call) showReport(ref string, r v3.ShadowReport) error {
	compared := fmt.Sprintf("%d of %d copies", r.Compared, r.Copied)
	latency := "unknown"
	if r.Compared > 0 { // of nothing all is equal, which says nothing
		compared += fmt.Sprintf(", %.1f%% equal", r.EqualPercent)
		latency = fmt.Sprintf("main %.0f/%.0f ms, shadow %.0f/%.0f ms (p50/p95)", r.Latency.MainP50, r.Latency.MainP95, r.Latency.ShadowP50, r.Latency.ShadowP95)
	}
	return c.out.print("ShadowReport", map[string]any{"version": ref, "report": r}, nil, func(p *page) {
		p.pairs(
			"version", ref,
			"compared", compared,
			"since", r.Since.Local().Format("2006-01-02 15:04:05"),
			"noise", noiseWords(r),
			"dropped", droppedWords(r.Dropped),
			"latency", latency,
			"statuses", statusWords(r.Statuses),
		)
		p.blank()
		drawDifferences(p, r)
	})
}

func noiseWords(r v3.ShadowReport) string {
	if r.Probed == 0 {
		return "unknown: the main version was asked nothing twice"
	}
	return fmt.Sprintf("known from %d requests the main version was asked twice", r.Probed)
}

func statusWords(all []v3.ShadowStatuses) string {
	var words []string
	for _, s := range all {
		words = append(words, fmt.Sprintf("%s: %d", s.Statuses, s.Count))
	}
	if len(words) == 0 {
		return "none yet"
	}
	return strings.Join(words, ", ")
}

func droppedWords(dropped map[string]uint64) string {
	if len(dropped) == 0 {
		return "none"
	}
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(dropped)) {
		words = append(words, fmt.Sprintf("%s: %d", reason, dropped[reason]))
	}
	return strings.Join(words, ", ")
}

// maxUndecided is how many fields are listed that are not known to differ.
const maxUndecided = 20

// drawDifferences lists the fields that differed and an example of each: all
// that differ by more than noise, and some of the others.
func drawDifferences(p *page, r v3.ShadowReport) {
	var found, others [][]string
	for _, e := range r.Endpoints {
		for _, f := range e.Fields {
			row := []string{
				e.Endpoint, f.Field, fieldVerdict(f), fmt.Sprintf("%d of %d", f.Differs, e.Compared),
				fmt.Sprintf("%.3g of %.0f", f.Evidence, f.Threshold), "", "",
			}
			if len(f.Examples) > 0 {
				row[5], row[6] = shortPair(f.Examples[0].Main, f.Examples[0].Shadow)
			}
			if f.IsDifferent {
				found = append(found, row)
			} else {
				others = append(others, row)
			}
		}
	}
	switch {
	case r.Compared == 0:
		p.line("nothing was compared yet")
		return
	case len(found)+len(others) == 0:
		p.line("no difference was found")
		return
	}
	left := max(len(others)-maxUndecided, 0)
	p.table("", []string{"endpoint", "field", "verdict", "differs", "evidence", "main", "shadow"}, append(found, others[:len(others)-left]...))
	if left > 0 {
		p.blank()
		p.line(fmt.Sprintf("%d more are noise or not sure yet: --output json has them all", left))
	}
}

// fieldVerdict says in a word what is known about a field.
func fieldVerdict(f v3.ShadowField) string {
	switch {
	case f.IsDifferent:
		return "DIFFERS"
	case f.Noisy > 0 && f.OnlyShadow <= f.OnlyNoise:
		return "noise"
	}
	return "not sure yet"
}

// shortPair cuts two values down to the place where they differ.
func shortPair(a, b string) (string, string) {
	const width, before = 24, 7
	ra, rb := []rune(a), []rune(b)
	same := 0
	for same < len(ra) && same < len(rb) && ra[same] == rb[same] {
		same++
	}
	from := max(min(same-before, max(len(ra), len(rb))-width), 0)
	cut := func(r []rune) string {
		if len(r) <= width {
			return string(r)
		}
		at := min(from, len(r))
		s := string(r[at:min(at+width, len(r))])
		if at > 0 {
			s = "…" + s
		}
		if at+width < len(r) {
			s += "…"
		}
		return s
	}
	return cut(ra), cut(rb)
}
