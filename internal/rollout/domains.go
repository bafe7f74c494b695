package rollout

import (
	"context"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/idna"

	"weir/internal/platform"
	"weir/internal/store"
)

// CreateDomain stores a new domain. Its name must not be in use, nor lie above
// or below a route of somebody else's.
func (e *Engine) CreateDomain(ctx context.Context, who platform.Actor, domain platform.Domain) (platform.Domain, error) {
	metadata := domain.Metadata
	domain.Resource = platform.NewResource(time.Now().UTC())
	domain.Metadata = metadata
	domain.Name = strings.ToLower(strings.TrimSuffix(domain.Name, "."))
	if err := checkDomainName(domain.Name); err != nil {
		return platform.Domain{}, err
	}
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		if domain.OrganizationGUID != "" {
			if _, err := tx.Organization(ctx, domain.OrganizationGUID); err != nil {
				return invalidReference(err, "Organization with guid '"+domain.OrganizationGUID+"' does not exist or you do not have access to it.")
			}
		}
		if err := e.checkShadowing(ctx, tx, domain); err != nil {
			return err
		}
		if err := tx.InsertDomain(ctx, domain); err != nil {
			return err
		}
		var err error
		if domain, err = tx.Domain(ctx, domain.GUID); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.domain.create", target{domain.GUID, "domain", domain.Name, ""}, nil)
	})
	if err != nil {
		return platform.Domain{}, err
	}
	return domain, nil
}

func checkDomainName(name string) error {
	if err := checkLetters("Name", name); err != nil {
		return err
	}
	if len(name) < 3 || len(name) > platform.MaxFQDN || !platform.IsHost(name) || !strings.Contains(name, ".") && name != "localhost" {
		return platform.Invalidf("Name does not comply with RFC 1035 standards: %q is not a domain name of at least two labels", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > platform.MaxHostLabel {
			return platform.Invalidf("Name does not comply with RFC 1035 standards: the label %q is longer than %d characters", label, platform.MaxHostLabel)
		}
	}
	return nil
}

// checkLetters refuses letters that no DNS name has, and says how the name is
// written with those it has: what browsers send for it.
func checkLetters(what, name string) error {
	if !strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return nil
	}
	e := platform.Invalidf("%s %q has letters that DNS does not know", what, name)
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		e.Hint = "write it as browsers send it: " + ascii
	}
	return e
}

// checkShadowing refuses a domain whose name is a route already, or that lies
// in another organization's domain.
func (e *Engine) checkShadowing(ctx context.Context, tx *store.Tx, domain platform.Domain) error {
	all, _, err := tx.Domains(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Name == domain.Name {
			continue // the store says it better
		}
		below := strings.HasSuffix(domain.Name, "."+d.Name)
		above := strings.HasSuffix(d.Name, "."+domain.Name)
		if (below || above) && d.OrganizationGUID != "" && d.OrganizationGUID != domain.OrganizationGUID {
			return platform.Invalidf("The domain name \"%s\" cannot be created because \"%s\" is already reserved by another domain", domain.Name, d.Name)
		}
		if !below {
			continue
		}
		host := strings.TrimSuffix(domain.Name, "."+d.Name)
		_, err := tx.RouteByAddress(ctx, d.GUID, host, "")
		if err == nil {
			return platform.Invalidf("The domain name \"%s\" cannot be created because \"%s\" is already reserved by a route", domain.Name, domain.Name)
		}
		if !isNotFound(err) {
			return err
		}
	}
	return nil
}

// UpdateDomain lets change edit the metadata of a domain.
func (e *Engine) UpdateDomain(ctx context.Context, _ platform.Actor, guid string, change func(*platform.Metadata) error) (d platform.Domain, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if d, err = tx.Domain(ctx, guid); err != nil {
			return err
		}
		if err := change(&d.Metadata); err != nil {
			return err
		}
		return tx.UpdateDomain(ctx, d)
	})
	return d, err
}

// DeleteDomain removes a domain with its routes.
func (e *Engine) DeleteDomain(ctx context.Context, who platform.Actor, guid string) error {
	var gone []string
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		d, err := tx.Domain(ctx, guid)
		if err != nil {
			return err
		}
		found, _, err := tx.Routes(ctx, store.Query{In: map[string][]string{"domain_guids": {guid}}})
		if err != nil {
			return err
		}
		for _, r := range found {
			gone = append(gone, r.GUID)
			if err := e.deleteRoute(ctx, tx, who, r); err != nil {
				return err
			}
		}
		if err := tx.DeleteDomain(ctx, guid); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.domain.delete-request", target{d.GUID, "domain", d.Name, ""}, nil)
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return e.published(ctx, nil, gone)
}
