package cli

import (
	"context"
	"time"
)

func orgCommands() []*command {
	return []*command{
		{
			name: "orgs", aliases: []string{"o"}, category: catAdmin,
			usage: "list the organizations", examples: []string{"orgs", "orgs -o json"}, run: runOrgs,
		},
		{
			name: "spaces", category: catAdmin,
			usage: "list the spaces", examples: []string{"spaces", "spaces -q"},
			about: "The space that commands act in is marked with a star; weir target -s chooses another.",
			run:   runSpaces,
		},
	}
}

type orgView struct {
	Name      string    `json:"name"`
	GUID      string    `json:"guid"`
	CreatedAt time.Time `json:"createdAt"`
}

func runOrgs(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting orgs as %s...", s.user)
	all, err := s.Organizations(ctx, nil)
	if err != nil {
		return err
	}
	views, names, rows := []orgView{}, []string{}, [][]string{}
	for _, o := range all {
		views = append(views, orgView{o.Name, o.GUID, o.CreatedAt.Time})
		names, rows = append(names, o.Name), append(rows, []string{o.Name, stamp(o.CreatedAt.Time), o.GUID})
	}
	return c.out.print("OrgList", map[string]any{"orgs": views}, names, func(p *page) { p.table("", append([]string{"name"}, p.more("created", "guid")...), rows) })
}

type spaceView struct {
	Name      string    `json:"name"`
	GUID      string    `json:"guid"`
	Org       string    `json:"org"`
	Targeted  bool      `json:"targeted"`
	CreatedAt time.Time `json:"createdAt"`
}

func runSpaces(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting spaces as %s...", s.user)
	all, err := s.spaces(ctx)
	if err != nil {
		return err
	}
	current, err := s.space(ctx)
	if err != nil && asFailure(err).exit != exitNotFound {
		return err
	}
	views, names, rows := []spaceView{}, []string{}, [][]string{}
	for _, sp := range all {
		star := ""
		if sp.GUID == current.GUID {
			star = "*"
		}
		views = append(views, spaceView{sp.Name, sp.GUID, sp.Org.Name, star != "", sp.CreatedAt.Time})
		names, rows = append(names, sp.Name), append(rows, []string{sp.Name, sp.Org.Name, star, stamp(sp.CreatedAt.Time), sp.GUID})
	}
	return c.out.print("SpaceList", map[string]any{"spaces": views}, names, func(p *page) {
		p.table("", append([]string{"name", "org", ""}, p.more("created", "guid")...), rows)
	})
}
