package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func freezeCommands() []*command {
	return []*command{
		{
			name: "freeze", args: "[WINDOW]", category: catVersions,
			usage: "forbid rollouts in a time of the week, or list such times",
			examples: []string{
				`freeze "Fri 16:00-Mon 08:00 Europe/Berlin" --reason "nobody is there"`, `freeze "22:00-06:00" --everywhere`, "freeze",
			},
			about: "In a freeze no rollout begins and none takes a step. A push without a rollout, weight and assign are not stopped. Going back is always possible, and so is a push with --hotfix.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "reason", Usage: "`TEXT` for those who are stopped"},
				&cli.BoolFlag{Name: "everywhere", Usage: "in all spaces"},
			},
			run: runFreeze,
		},
		{
			name: "unfreeze", args: "WINDOW", category: catVersions,
			usage: "take a freeze away", examples: []string{`unfreeze "Fri 16:00-Mon 08:00 Europe/Berlin"`, "unfreeze 5c1f0e0a-7d7e-4a50-9d5e-6e7a9f8f0c11"},
			about: "WINDOW is as weir freeze lists it, or the freeze's GUID if there are several like it.", run: runUnfreeze,
		},
	}
}

// freezeView is a time of the week in which nothing is released.
type freezeView struct {
	GUID      string    `json:"guid"`
	Window    string    `json:"window"`
	Reason    string    `json:"reason"`
	Space     string    `json:"space"` // GUID; "" everywhere
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
}

func runFreeze(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	if window := c.arg(0); window != "" {
		req := v3.FreezeCreate{Window: window, Reason: c.String("reason"), SpaceGUID: sp.GUID}
		if c.Bool("everywhere") {
			req.SpaceGUID = ""
		}
		if _, err := s.CreateFreeze(ctx, req); err != nil {
			return err
		}
	}
	all, err := s.Freezes(ctx, sp.GUID)
	if err != nil {
		return err
	}
	rows, names := []freezeView{}, []string{}
	for _, f := range all {
		rows = append(rows, freezeView{GUID: f.GUID, Window: f.Window, Reason: f.Reason, Space: f.SpaceGUID, CreatedBy: f.CreatedBy, CreatedAt: f.CreatedAt.Time})
		names = append(names, f.GUID)
	}
	return c.out.print("FreezeList", map[string]any{"freezes": rows}, names, func(p *page) {
		if len(rows) == 0 {
			p.line(fmt.Sprintf("No freezes in space %s.", sp.Name))
			return
		}
		var cells [][]string
		for _, r := range rows {
			where := sp.Name
			if r.Space == "" {
				where = "everywhere"
			}
			cells = append(cells, []string{r.Window, where, r.Reason, r.CreatedBy, r.GUID, stamp(r.CreatedAt)})
		}
		p.table("", append([]string{"window", "space", "reason", "by", "guid"}, p.more("created")...), cells)
	})
}

func runUnfreeze(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	all, err := s.Freezes(ctx, sp.GUID)
	if err != nil {
		return err
	}
	guid, n := "", 0
	for _, f := range all {
		if f.Window == c.arg(0) || f.GUID == c.arg(0) {
			guid = f.GUID
			n++
		}
	}
	switch {
	case n == 0:
		return notFound("weir freeze lists them", "there is no freeze %q", c.arg(0))
	case n > 1:
		return withHint(usagef("there are %d freezes %q", n, c.arg(0)), "name one by its GUID: weir freeze lists them")
	}
	if err := s.DeleteFreeze(ctx, guid); err != nil {
		return err
	}
	return c.out.done("FreezeList", map[string]any{"freezes": []freezeView{}})
}
