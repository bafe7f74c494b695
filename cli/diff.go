package cli

import (
	"context"
	"strconv"
	"strings"

	v3 "weir/api/v3"
)

func diffCommands() []*command {
	return []*command{{
		name: "diff", args: "APP [FROM] [TO]", category: catHistory,
		usage: "show what a revision or version of an app has otherwise than another",
		examples: []string{
			"diff web 14 15", "diff web v1 v2", "diff web                # what the next start would change",
		},
		about: "FROM and TO are numbers of revisions, labels of versions, or \"pending\": the app's settings as the next start takes " +
			"them. Without TO it compares with pending, without FROM with what the main version runs. Values of variables are not shown.",
		run: runDiff,
	}}
}

// revisionDiff is what one revision has otherwise than another.
type revisionDiff struct {
	App     string           `json:"app"`
	From    string           `json:"from"` // number of the revision, or "pending"
	To      string           `json:"to"`
	Changes []revisionChange `json:"changes"`
}

// revisionChange is one difference.
type revisionChange struct {
	What   string  `json:"what"`   // droplet, env, command, memory, disk, health-check, service …
	Name   string  `json:"name"`   // of the variable, process or service; else ""
	Before *string `json:"before"` // null: not there
	After  *string `json:"after"`
	Secret bool    `json:"secret"` // the values are not told
}

const pending = "pending"

func runDiff(ctx context.Context, c *call) error {
	s, _, f, err := c.openFleet(ctx, c.arg(0))
	if err != nil {
		return err
	}
	from, to := c.arg(1), c.arg(2)
	if from == "" {
		main, ok := f.main()
		if !ok {
			return notFound("weir revisions "+f.app.Name, "App '%s' runs nothing to compare with", f.app.Name)
		}
		from = main.Label
	}
	if to == "" {
		to = pending
	}
	if from, err = f.revisionNumber(from); err != nil {
		return err
	}
	if to, err = f.revisionNumber(to); err != nil {
		return err
	}
	d, err := s.RevisionDiff(ctx, f.app.GUID, from, to)
	if err != nil {
		return err
	}
	v := viewDiff(f.app.Name, d)
	return c.out.print("RevisionDiff", map[string]any{"diff": v}, v.names(), v.draw)
}

// revisionNumber turns a label into the number of the version's revision.
func (f fleet) revisionNumber(s string) (string, error) {
	if _, err := strconv.Atoi(s); err == nil || s == pending {
		return s, nil
	}
	v, err := f.find(s)
	if err != nil {
		return "", err
	}
	if v.Revision == nil {
		return "", notFound("", "version %s has no revision", s)
	}
	return strconv.Itoa(v.Revision.Version), nil
}

func viewDiff(app string, d v3.RevisionDiff) revisionDiff {
	v := revisionDiff{App: app, From: revisionText(d.From), To: revisionText(d.To), Changes: []revisionChange{}}
	for _, x := range d.Changes {
		v.Changes = append(v.Changes, revisionChange(x))
	}
	return v
}

func revisionText(r v3.RevisionName) string {
	if r.Version == 0 {
		return pending
	}
	return strconv.Itoa(r.Version)
}

func revisionHeading(number string) string {
	if number == pending {
		return pending
	}
	return "revision " + number
}

func (v revisionDiff) names() (names []string) {
	for _, x := range v.Changes {
		names = append(names, strings.TrimSpace(x.What+" "+x.Name))
	}
	return names
}

func (v revisionDiff) draw(p *page) {
	if len(v.Changes) == 0 {
		p.line("Revision " + v.From + " and " + v.To + " are the same.")
		return
	}
	var rows [][]string
	for _, x := range v.Changes {
		before, after := x.side(x.Before, x.After), x.side(x.After, x.Before)
		if x.What == "droplet" {
			if before, after = shortDigest(before), shortDigest(after); before == after {
				after += ", built again from the same"
			}
		}
		rows = append(rows, []string{strings.TrimSpace(x.What + " " + x.Name), before, after})
	}
	p.table("", []string{"", revisionHeading(v.From), revisionHeading(v.To)}, rows)
}

// shortDigest leaves of a droplet's digest what a push shows of it.
func shortDigest(s string) string {
	if digest, ok := strings.CutPrefix(s, "sha256:"); ok {
		return digest[:min(len(digest), 12)]
	}
	return s
}

// side writes one side of a difference; of a secret only whether it is there.
func (x revisionChange) side(is, other *string) string {
	switch {
	case is == nil:
		return "-"
	case x.Secret && other == nil:
		return "(set)"
	case x.Secret:
		return "(changed)"
	case len(*is) > 60:
		return (*is)[:57] + "..."
	}
	return *is
}
