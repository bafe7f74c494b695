package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	v3 "weir/api/v3"
)

// ErrLogin means that there is no token, or none that can be refreshed: log
// in (again).
var ErrLogin = errors.New("not logged in, or the login has expired")

// clientID is the OAuth client the command line logs in as: the cf CLI's.
const clientID = "cf"

// Login gets tokens for a user name and a password.
func (c *Client) Login(ctx context.Context, user, password string) (v3.Token, error) {
	return c.token(ctx, url.Values{
		"grant_type": {"password"}, "username": {user}, "password": {password},
	}, clientID, "")
}

// Refresh gets new tokens for a refresh token, which is used up by that. The
// error is ErrLogin if the server does not take it.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (v3.Token, error) {
	t, err := c.token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken},
	}, clientID, "")
	if IsStatus(err, http.StatusUnauthorized) {
		err = ErrLogin
	}
	return t, err
}

// Revoke makes the server forget a token by its jti, at logout.
func (c *Client) Revoke(ctx context.Context, jti string) error {
	_, err := c.do(ctx, http.MethodDelete, "/oauth/token/revoke/"+url.PathEscape(jti), nil, nil)
	return err
}

func (c *Client) token(ctx context.Context, form url.Values, id, secret string) (v3.Token, error) {
	r := request{method: http.MethodPost, path: "/oauth/token", anonymous: true, header: http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded"},
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))},
	}}
	r.bytes([]byte(form.Encode()))
	r.sent = nil // holds a password: not for the trace
	var t v3.Token
	_, err := c.decode(ctx, r, &t)
	return t, err
}

// SessionConfig is what NewSession needs.
type SessionConfig struct {
	// Auth is the client through which tokens are refreshed. It needs no
	// TokenSource.
	Auth *Client
	// Token is what an earlier login returned.
	Token v3.Token
	// Update is called when the access token is too old or was refused. It
	// gets the token in use and a function that refreshes a token at the
	// server, and returns the token to go on with. A program that keeps
	// tokens in a file locks the file here, uses the token another process
	// may have put there meanwhile, and else refreshes and saves. Nil means
	// refresh only.
	Update func(ctx context.Context, current v3.Token, refresh func(v3.Token) (v3.Token, error)) (v3.Token, error)
}

// Session is a TokenSource that refreshes its token in time.
type Session struct {
	cfg SessionConfig

	mu    sync.Mutex // held while refreshing: guards token
	token v3.Token
}

// NewSession returns a Session that starts with cfg.Token.
func NewSession(cfg SessionConfig) *Session { return &Session{cfg: cfg, token: cfg.Token} }

// expiryMargin is how long before its end a token is refreshed.
const expiryMargin = 30 * time.Second

// Token returns an access token that is good for a while.
func (s *Session) Token(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.AccessToken == "" {
		return "", ErrLogin
	}
	if s.token.AccessToken != refused && !isExpired(s.token.AccessToken, time.Now().Add(expiryMargin)) {
		return s.token.AccessToken, nil
	}
	refresh := func(t v3.Token) (v3.Token, error) {
		if t.RefreshToken == "" {
			return v3.Token{}, ErrLogin
		}
		return s.cfg.Auth.Refresh(ctx, t.RefreshToken)
	}
	var t v3.Token
	var err error
	if s.cfg.Update != nil {
		t, err = s.cfg.Update(ctx, s.token, refresh)
	} else {
		t, err = refresh(s.token)
	}
	if err != nil {
		return "", err
	}
	s.token = t
	return t.AccessToken, nil
}

// Claims are the parts of an access token a client may want to show.
type Claims struct {
	UserName string `json:"user_name"`
	ClientID string `json:"client_id"`
	UserID   string `json:"user_id"`
	JTI      string `json:"jti"`
	Expires  int64  `json:"exp"`
}

// ParseClaims reads an access token without verifying it.
func ParseClaims(token string) (Claims, bool) {
	var c Claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	return c, err == nil && json.Unmarshal(b, &c) == nil
}

// isExpired reports whether the access token is no longer good at t.
func isExpired(token string, t time.Time) bool {
	c, ok := ParseClaims(token)
	return ok && c.Expires != 0 && t.After(time.Unix(c.Expires, 0))
}
