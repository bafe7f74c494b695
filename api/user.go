package api

import (
	"context"
	"fmt"
	"slices"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

type listUsers struct {
	List list `filters:"guids,usernames,partial_usernames,origins"`
}

func (a *API) listUsers(ctx context.Context, c call, req listUsers) (reply, error) {
	us, total, err := a.store.Users(ctx, req.List.Query)
	return ok(pageOf(c, req.List, us, total, c.user)), err
}

func (a *API) getUser(ctx context.Context, c call, req byGUID) (reply, error) {
	u, err := a.store.User(ctx, req.GUID)
	return ok(c.user(u)), err
}

func (u urls) user(x platform.User) v3.User {
	return v3.User{
		Resource: resource(x.Resource), Username: orNull(x.Username), PresentationName: x.Username,
		Origin: orNull(x.Origin), Role: auth.RoleOf(x), Metadata: presentMetadata(x.Metadata),
		Links: v3.Links{"self": u.link("/v3/users/" + x.GUID)},
	}
}

type createUser struct {
	Body v3.UserCreate `body:"json"`
}

// createUser answers for the users there are: the token server, which is weir
// too, has made them. The cf CLI asks for one after the other.
func (a *API) createUser(ctx context.Context, c call, req createUser) (reply, error) {
	b := req.Body
	if (b.GUID == "") == (b.Username == "") {
		return reply{}, platform.Invalidf("one of guid and username must be given")
	}
	u, err := a.findUser(ctx, v3.UserRef{GUID: b.GUID, Username: b.Username, Origin: b.Origin})
	if err == nil && b.Metadata != nil {
		u, err = a.auth.ChangeUser(ctx, c.actor(), u.GUID, auth.UserChange{Describe: func(m *platform.Metadata) error { return applyMetadata(m, b.Metadata) }})
	}
	return created(c.user(u)), err
}

type updateUser struct {
	GUID string        `path:"guid"`
	Body v3.UserUpdate `body:"json"`
}

func (a *API) updateUser(ctx context.Context, c call, req updateUser) (reply, error) {
	change := auth.UserChange{}
	if req.Body.Role != nil {
		if _, err := auth.ScopesOf(*req.Body.Role); err != nil {
			return reply{}, err
		}
		change.Role = *req.Body.Role
	}
	if req.Body.Metadata != nil {
		change.Describe = func(m *platform.Metadata) error { return applyMetadata(m, req.Body.Metadata) }
	}
	u, err := a.auth.ChangeUser(ctx, c.actor(), req.GUID, change)
	return ok(c.user(u)), err
}

func (a *API) deleteUser(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.User(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "user.delete", func(ctx context.Context) error { return a.auth.DeleteUser(ctx, c.actor(), req.GUID) })
}

type createRole struct {
	Body v3.RoleCreate `body:"json"`
}

// createRole answers for administrators, who have every role already. The cf
// CLI asks for roles whenever it makes an org or a space and is content with
// that answer. Others have no roles in orgs and spaces.
func (a *API) createRole(ctx context.Context, _ call, req createRole) (reply, error) {
	b := req.Body
	place, err := a.rolePlace(ctx, b)
	if err != nil {
		return reply{}, err
	}
	if b.Relationships.User == nil || b.Relationships.User.Data == nil {
		return reply{}, platform.Invalidf("relationships.user.data must name a user")
	}
	u, err := a.findUser(ctx, *b.Relationships.User.Data)
	if err != nil {
		return reply{}, err
	}
	if !slices.Contains(u.Scopes, auth.ScopeAdmin) {
		return reply{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("User '%s' cannot be given a role in %s: weir's roles hold everywhere.", u.Username, place),
			Hint: "weir update-user " + u.Username + " --role admin",
		}
	}
	return reply{}, platform.Invalidf("User '%s' already has '%s' role in %s.", u.Username, b.Type, place)
}

// rolePlace checks a role's type and names what it is a role in.
func (a *API) rolePlace(ctx context.Context, b v3.RoleCreate) (string, error) {
	switch b.Type {
	case "organization_user", "organization_auditor", "organization_manager", "organization_billing_manager":
		o, err := a.store.Organization(ctx, guidOf(b.Relationships.Organization))
		return "organization '" + o.Name + "'", whenMissing(err, "Invalid organization. Ensure that the organization exists and you have access to it.")
	case "space_auditor", "space_developer", "space_manager", "space_supporter":
		s, err := a.store.Space(ctx, guidOf(b.Relationships.Space))
		return "space '" + s.Name + "'", whenMissing(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	return "", platform.Invalidf("type '%s' is not a role", b.Type)
}

func guidOf(t *v3.ToOne) string {
	if t == nil || t.Data == nil {
		return ""
	}
	return t.Data.GUID
}

func (a *API) findUser(ctx context.Context, ref v3.UserRef) (platform.User, error) {
	if ref.GUID != "" {
		u, err := a.store.User(ctx, ref.GUID)
		return u, whenMissing(err, "Invalid user. Ensure that the user exists and you have access to it.")
	}
	q := store.Query{In: map[string][]string{"usernames": {ref.Username}}}
	if ref.Origin != "" {
		q.In["origins"] = []string{ref.Origin}
	}
	us, _, err := a.store.Users(ctx, q)
	if err == nil && len(us) == 0 {
		err = platform.Invalidf("No user exists with the username '%s'.", ref.Username)
	}
	if err != nil {
		return platform.User{}, err
	}
	return us[0], nil
}
