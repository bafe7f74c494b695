package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"weir/internal/platform"
)

// Names in every token, checked when it comes back.
const (
	issuer   = "weir"
	audience = "cloud_controller"
)

// maxToken bounds what is parsed at all; ours are under 1 KiB.
const maxToken = 8 << 10

// claims are the contents of an access token. The cf CLI reads user_name,
// user_id, origin, client_id and exp.
type claims struct {
	jwt.RegisteredClaims
	UserName  string   `json:"user_name,omitempty"`
	UserID    string   `json:"user_id,omitempty"`
	Origin    string   `json:"origin,omitempty"`
	ClientID  string   `json:"client_id"`
	GrantType string   `json:"grant_type"`
	Scope     []string `json:"scope"`
	// Signature ties the token to the password it was given for, so that
	// changing the password ends it.
	Signature string `json:"rev_sig"`
	// Session is the login; the token ends with it.
	Session   string `json:"sid,omitempty"`
	Revocable bool   `json:"revocable"`
}

// grant is a login that was checked.
type grant struct{ typ, client, session, refresh string }

// issue makes the tokens of a grant to a user.
func (s *Service) issue(key []byte, user platform.User, g grant) (Tokens, error) {
	now := s.now()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        platform.NewGUID(),
			Issuer:    issuer,
			Subject:   user.GUID,
			Audience:  jwt.ClaimStrings{audience, g.client},
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(AccessLifetime)),
		},
		ClientID:  g.client,
		GrantType: g.typ,
		Scope:     slices.Clone(user.Scopes),
		Signature: passwordMark(key, user),
		Session:   g.session,
		Revocable: g.session != "",
	}
	if user.Origin != OriginClient {
		c.UserName, c.UserID, c.Origin = user.Username, user.GUID, user.Origin
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(key)
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{Access: token, Refresh: g.refresh, ExpiresIn: AccessLifetime, Scopes: c.Scope, ID: c.ID}, nil
}

// Verify returns the actor an access token speaks for. The actor has the
// scopes that both the token and the user have by now.
func (s *Service) Verify(ctx context.Context, token string) (Actor, error) {
	if len(token) > maxToken {
		return Actor{}, invalidToken(errors.New("too long"))
	}
	key, err := s.key(ctx)
	if err != nil {
		return Actor{}, err
	}
	var c claims
	_, err = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(s.now),
		jwt.WithStrictDecoding(),
	).ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key, nil })
	if err != nil {
		return Actor{}, invalidToken(err)
	}
	user, err := s.store.User(ctx, c.Subject)
	if err != nil {
		return Actor{}, unknownToken(err)
	}
	if c.Signature != passwordMark(key, user) {
		return Actor{}, invalidToken(errors.New("the password was changed"))
	}
	if c.Session != "" || user.Origin != OriginClient {
		alive, err := s.store.HasRefreshFamily(ctx, c.Session)
		if err != nil {
			return Actor{}, err
		}
		if !alive {
			return Actor{}, invalidToken(errors.New("the login was ended"))
		}
	}
	actor := Actor{
		Actor:   platform.Actor{GUID: user.GUID, Name: user.Username, Type: "user"},
		Scopes:  slices.DeleteFunc(c.Scope, func(scope string) bool { return !slices.Contains(user.Scopes, scope) }),
		TokenID: c.ID,
		Session: c.Session,
	}
	if user.Origin == OriginClient {
		actor.Type = "client"
	}
	return actor, nil
}

// passwordMark is a short mark of a user's present password.
func passwordMark(key []byte, u platform.User) string {
	return base64.RawURLEncoding.EncodeToString(sum(key, "password", u.GUID+u.PasswordHash)[:12])
}
