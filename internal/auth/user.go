package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"weir/internal/platform"
)

// Bounds of what a person chooses.
const (
	minPassword = 8
	maxPassword = 1024
	maxUsername = 255
)

// UserScopes are what every new user's tokens carry.
var UserScopes = []string{"openid", "cloud_controller.read", "cloud_controller.write", "password.write"}

// CreateUser adds a user of u.Origin with a password; for OriginClient that is
// the client's secret. Without scopes they get UserScopes. It returns the user
// as kept.
func (s *Service) CreateUser(ctx context.Context, who platform.Actor, u platform.User, password string) (platform.User, error) {
	if err := checkUsername(u.Username); err != nil {
		return platform.User{}, err
	}
	if u.Origin == "" {
		u.Origin = OriginInternal
	}
	if u.Origin != OriginInternal && u.Origin != OriginClient {
		return platform.User{}, platform.Invalidf("users of origin %q cannot have a password here", u.Origin)
	}
	hash, err := s.newHash(ctx, password)
	if err != nil {
		return platform.User{}, err
	}
	if u.GUID == "" {
		metadata := u.Metadata
		u.Resource = platform.NewResource(s.now())
		u.Metadata = metadata
	}
	u.PasswordHash = hash
	if u.Scopes == nil {
		u.Scopes = slices.Clone(UserScopes)
	}
	if err := s.store.InsertUser(ctx, u); err != nil {
		return platform.User{}, err
	}
	s.record(ctx, who, "create", u, map[string]any{"origin": u.Origin, "role": RoleOf(u)})
	s.logger.InfoContext(ctx, "user was made", "user", u.Username, "origin", u.Origin, "role", RoleOf(u))
	return s.store.User(ctx, u.GUID)
}

// SetPassword gives a user a new password. All their tokens end.
func (s *Service) SetPassword(ctx context.Context, who platform.Actor, guid, password string) error {
	hash, err := s.newHash(ctx, password)
	if err != nil {
		return err
	}
	user, err := s.store.User(ctx, guid)
	if err != nil {
		return err
	}
	user.PasswordHash = hash
	if err := s.store.UpdateUser(ctx, user); err != nil {
		return err
	}
	s.record(ctx, who, "password", user, nil)
	s.attempts.forget(account(user.Username, user.Origin))
	if err := s.store.DeleteUserRefreshTokens(ctx, guid); err != nil {
		return err
	}
	if s.keep != nil && isOwner(user) {
		return s.keep(password)
	}
	return nil
}

// record tells the audit log what somebody did to a user. It is done by then,
// whether that can be told or not.
func (s *Service) record(ctx context.Context, who platform.Actor, what string, u platform.User, data map[string]any) {
	err := s.store.InsertEvent(ctx, platform.Event{
		Resource: platform.NewResource(s.now()), Type: "audit.user." + what, Actor: who,
		TargetGUID: u.GUID, TargetType: "user", TargetName: u.Username, Data: data,
	})
	if err != nil {
		s.logger.ErrorContext(ctx, "an audit event could not be written", "what", what, "user", u.Username, "by", who.Name, "err", err)
	}
}

func (s *Service) newHash(ctx context.Context, password string) (string, error) {
	if len(password) < minPassword || len(password) > maxPassword {
		return "", &platform.Error{
			Kind:  platform.KindInvalid,
			Title: "invalid_password",
			Msg:   fmt.Sprintf("a password has %d to %d characters", minPassword, maxPassword),
		}
	}
	return s.hasher.hash(ctx, password)
}

func checkUsername(name string) error {
	odd := func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }
	if name == "" || len(name) > maxUsername || name != strings.TrimSpace(name) || strings.ContainsFunc(name, odd) {
		return platform.Invalidf("%q cannot be the name of a user", name)
	}
	return nil
}

// check returns the user of that name if the password is theirs. It takes as
// long for users that do not exist, and does not even try while an account is
// locked.
func (s *Service) check(ctx context.Context, username, origin, password string) (platform.User, error) {
	name := account(username, origin)
	if wait := s.attempts.locked(name, s.now()); wait > 0 {
		return platform.User{}, locked(wait)
	}
	leave, err := s.hasher.enter(ctx)
	if err != nil {
		return platform.User{}, err
	}
	defer leave()
	// Looked at again in here, where few are at a time: of a thousand guesses
	// sent at once, those that waited find the account locked.
	if wait := s.attempts.locked(name, s.now()); wait > 0 {
		return platform.User{}, locked(wait)
	}
	user, err := s.store.UserByName(ctx, username, origin)
	if err != nil && platform.KindOf(err) != platform.KindNotFound {
		return platform.User{}, err
	}
	ok, err := s.hasher.verify(user.PasswordHash, password)
	if err != nil {
		return platform.User{}, err
	}
	if !ok {
		s.attempts.fail(name, s.now())
		s.logger.WarnContext(ctx, "wrong user or password", "origin", origin)
		return platform.User{}, badCredentials(origin)
	}
	s.attempts.forget(name)
	return user, nil
}

// account names the thing whose failed attempts are counted.
func account(username, origin string) string {
	return origin + "\x00" + strings.ToLower(username[:min(len(username), maxUsername)])
}

func badCredentials(origin string) error {
	e := &platform.Error{
		Kind: platform.KindUnauthenticated,
		Msg:  "Bad credentials",
		Hint: "check the user name and the password",
		Err:  ErrBadCredentials,
	}
	if origin == OriginClient {
		e.Hint, e.Err = "check the client's name and secret", ErrInvalidClient
	}
	return e
}

// locked carries the sentence that the cf CLI knows.
func locked(wait time.Duration) error {
	return &platform.Error{
		Kind: platform.KindUnauthenticated,
		Msg:  "Your account has been locked because of too many failed attempts to login.",
		Hint: fmt.Sprintf("try again in %s", wait.Round(time.Second)),
		Err:  ErrLocked,
	}
}
