package cli

import (
	"context"
	"fmt"
	"strings"

	v3 "weir/api/v3"

	"github.com/urfave/cli/v2"
)

func domainCommands() []*command {
	return []*command{
		{
			name: "domains", category: catRoutes,
			usage: "list the domains", examples: []string{"domains"}, run: runDomains,
		},
		{
			name: "create-domain", aliases: []string{"create-shared-domain"}, args: "DOMAIN_NAME", category: catRoutes,
			usage: "make a domain for routes", examples: []string{"create-domain shop.example.com"},
			about: "Its name must lead to this server's router. Every space may use it.",
			run:   runCreateDomain,
		},
		{
			name: "delete-domain", aliases: []string{"delete-shared-domain"}, args: "DOMAIN", category: catRoutes,
			usage: "delete a domain with its routes", examples: []string{"delete-domain shop.example.com -f"},
			flags: []cli.Flag{forceFlag()}, run: runDeleteDomain,
		},
	}
}

// domainView is a domain.
type domainView struct {
	Name     string `json:"name"`
	GUID     string `json:"guid"`
	Shared   bool   `json:"shared"`
	Internal bool   `json:"internal"`
}

func runDomains(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting domains in org %s as %s...", sp.Org.Name, s.user)
	list, err := s.OrganizationDomains(ctx, sp.Org.GUID)
	if err != nil {
		return err
	}
	views, names, rows := []domainView{}, []string{}, [][]string{}
	for _, d := range list {
		v := domainView{d.Name, d.GUID, d.Relationships.Organization.Data == nil, d.Internal}
		views, names = append(views, v), append(names, d.Name)
		availability, internal := "private", ""
		if v.Shared {
			availability = "shared"
		}
		if v.Internal {
			internal = "true"
		}
		rows = append(rows, []string{d.Name, availability, internal, strings.Join(d.SupportedProtocols, ","), d.GUID})
	}
	return c.out.print("DomainList", map[string]any{"domains": views}, names, func(p *page) {
		p.table("", append([]string{"name", "availability", "internal", "protocols"}, p.more("guid")...), rows)
	})
}

// domainChange is the result of create-domain and delete-domain.
type domainChange struct {
	Domain  string `json:"domain"`
	GUID    string `json:"guid"`
	Changed bool   `json:"changed"`
}

func runCreateDomain(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	name := strings.ToLower(c.arg(0))
	c.out.banner("Creating domain %s as %s...", name, s.user)
	if d, ok, err := s.DomainByName(ctx, name); err != nil {
		return err
	} else if ok {
		return c.out.done("DomainChange", domainChange{d.Name, d.GUID, false}, fmt.Sprintf("Domain %s already exists.", name))
	}
	d, err := s.CreateDomain(ctx, v3.DomainCreate{Name: name})
	if err != nil {
		return err
	}
	return c.out.done("DomainChange", domainChange{d.Name, d.GUID, true})
}

func runDeleteDomain(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	name := strings.ToLower(c.arg(0))
	d, ok, err := s.DomainByName(ctx, name)
	if err != nil {
		return err
	}
	if !ok {
		return c.out.done("DomainChange", domainChange{name, "", false}, fmt.Sprintf("Domain %s does not exist.", name))
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the domain %s with all its routes?", name); err != nil {
			return declined(c, err)
		}
	}
	c.out.banner("Deleting domain %s as %s...", name, s.user)
	job, err := s.DeleteDomain(ctx, d.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return c.out.done("DomainChange", domainChange{name, d.GUID, true})
}
