package auth

import (
	"context"
	"fmt"
	"slices"

	"weir/internal/platform"
)

// The roles of users, in a word: what they may do everywhere. There are none
// in an organization or a space.
const (
	RoleAdmin   = "admin"   // everything
	RoleReader  = "reader"  // look at everything, environments and credentials too
	RoleAuditor = "auditor" // look at everything else
	RoleNone    = "none"    // log in
)

// roleScopes are what each role adds to UserScopes, the most first.
var roleScopes = []struct {
	role   string
	scopes []string
}{
	{RoleAdmin, []string{ScopeAdmin, "scim.read", "scim.write"}},
	{RoleReader, []string{ScopeAdminReadOnly}},
	{RoleAuditor, []string{ScopeGlobalAuditor}},
	{RoleNone, nil},
}

// RoleOf returns the role that a user's scopes amount to.
func RoleOf(u platform.User) string {
	for _, r := range roleScopes {
		if len(r.scopes) > 0 && slices.Contains(u.Scopes, r.scopes[0]) {
			return r.role
		}
	}
	return RoleNone
}

// ScopesOf returns what users with a role have in their tokens.
func ScopesOf(role string) ([]string, error) {
	for _, r := range roleScopes {
		if r.role == role {
			return slices.Concat(UserScopes, r.scopes), nil
		}
	}
	return nil, platform.Invalidf("role must be 'admin', 'reader', 'auditor' or 'none' (got %q)", role)
}

// UserChange is what is changed of a user; what is empty stays.
type UserChange struct {
	Role     string
	Describe func(*platform.Metadata) error
}

// ChangeUser changes a user. What a role takes away is gone at once; what it
// adds comes with the next token.
func (s *Service) ChangeUser(ctx context.Context, who platform.Actor, guid string, c UserChange) (platform.User, error) {
	u, err := s.store.User(ctx, guid)
	if err != nil {
		return u, err
	}
	was := RoleOf(u)
	if c.Role != "" {
		if u.Scopes, err = ScopesOf(c.Role); err != nil {
			return u, err
		}
		if isOwner(u) && c.Role != RoleAdmin {
			return u, ownerStays("stays an administrator")
		}
	}
	if c.Describe != nil {
		if err := c.Describe(&u.Metadata); err != nil {
			return u, err
		}
	}
	if err := s.store.UpdateUser(ctx, u); err != nil {
		return u, err
	}
	s.record(ctx, who, "update", u, map[string]any{"role": RoleOf(u), "role_before": was})
	s.logger.InfoContext(ctx, "user was changed", "user", u.Username, "role", RoleOf(u))
	return s.store.User(ctx, guid)
}

// DeleteUser forgets a user. All their tokens end.
func (s *Service) DeleteUser(ctx context.Context, who platform.Actor, guid string) error {
	u, err := s.store.User(ctx, guid)
	if err != nil {
		return err
	}
	if isOwner(u) {
		return ownerStays("cannot be deleted")
	}
	if err := s.store.DeleteUser(ctx, guid); err != nil {
		return err
	}
	s.record(ctx, who, "delete", u, nil)
	s.attempts.forget(account(u.Username, u.Origin))
	s.logger.InfoContext(ctx, "user was deleted", "user", u.Username)
	return nil
}

// ChangePassword gives a user a new password if the old one is right.
func (s *Service) ChangePassword(ctx context.Context, who platform.Actor, guid, old, password string) error {
	u, err := s.store.User(ctx, guid)
	if err != nil {
		return err
	}
	if _, err := s.check(ctx, u.Username, u.Origin, old); err != nil {
		return err
	}
	return s.SetPassword(ctx, who, guid, password)
}

// isOwner reports whether u is the user that Bootstrap makes.
func isOwner(u platform.User) bool { return u.Username == AdminName && u.Origin == OriginInternal }

func ownerStays(what string) error {
	return &platform.Error{
		Kind: platform.KindInvalid, Title: "Refused", Msg: fmt.Sprintf("the user %s %s", AdminName, what),
		Hint: "it is whom the machine's owner logs in as; give it another password: weir passwd " + AdminName,
	}
}
