// Package uaa serves the endpoints for tokens and users of Cloud Foundry's user
// account and authentication server, as far as its command line and libraries
// use them.
package uaa

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

// version is the token server's that clients see. From 4.26.0 on they know
// what an origin is.
const version = "77.0.0"

// patience is how long a login may wait for others to be checked: passwords
// are hashed a few at a time.
const patience = 15 * time.Second

// maxForm bounds the body of a token request.
const maxForm = 64 << 10

// Config is what a Server works with.
type Config struct {
	Auth   *auth.Service
	Store  *store.Store // where users are looked for
	Logger *slog.Logger
}

// Server is the http.Handler of the endpoints. It is safe for concurrent use.
type Server struct {
	auth     *auth.Service
	store    *store.Store
	logger   *slog.Logger
	mux      *http.ServeMux
	failures *limiter
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{auth: cfg.Auth, store: cfg.Store, logger: cfg.Logger, mux: http.NewServeMux(), failures: newLimiter(time.Now)}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.mux.HandleFunc("GET /login", s.login)
	s.mux.HandleFunc("POST /oauth/token", s.token)
	s.mux.HandleFunc("DELETE /oauth/token/revoke/{jti}", s.revoke)
	s.mux.HandleFunc("GET /Users", s.asAdmin(s.findUsers))
	s.mux.HandleFunc("POST /Users", s.asAdmin(s.createUser))
	s.mux.HandleFunc("DELETE /Users/{id}", s.asAdmin(s.deleteUser))
	s.mux.HandleFunc("PUT /Users/{id}/password", s.verified(s.setPassword))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, v3.Errors{Errors: []v3.Error{
			{Code: 10000, Title: "CF-NotFound", Detail: "Unknown request"},
		}})
	})
	return s
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// login says what a person is asked for.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	base := baseURL(r)
	answer(w, http.StatusOK, v3.Login{
		App:      v3.LoginApp{Version: version},
		Links:    map[string]string{"uaa": base, "login": base},
		ZoneName: "uaa",
		Prompts: map[string][]string{
			"username": {"text", "User name"},
			"password": {"password", "Password"},
		},
	})
}

func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// grant is a request for a token.
type grant struct {
	client, secret string
	form           url.Values
}

// token serves the three grants: password, refresh_token, client_credentials.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	from := remote(r)
	if wait := s.failures.locked(from); wait > 0 {
		tooMany(w, wait)
		return
	}
	g, err := readGrant(w, r)
	if err != nil {
		s.refuse(w, r, from, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	tokens, err := s.grant(ctx, g)
	if err != nil {
		s.refuse(w, r, from, err)
		return
	}
	s.failures.forget(from)
	answer(w, http.StatusOK, v3.Token{
		AccessToken: tokens.Access, TokenType: "bearer", RefreshToken: tokens.Refresh,
		ExpiresIn: int(tokens.ExpiresIn/time.Second) - 1,
		Scope:     strings.Join(tokens.Scopes, " "), JTI: tokens.ID,
	})
}

func (s *Server) grant(ctx context.Context, g grant) (auth.Tokens, error) {
	typ := g.form.Get("grant_type")
	switch typ {
	case "client_credentials":
		return s.auth.ClientCredentials(ctx, g.client, g.secret)
	case "password", "refresh_token":
		if err := s.auth.CheckClient(ctx, g.client, g.secret); err != nil {
			return auth.Tokens{}, err
		}
	case "":
		return auth.Tokens{}, refusal{400, "invalid_request", "Missing grant type"}
	default:
		return auth.Tokens{}, refusal{400, "unsupported_grant_type", "Unsupported grant type: " + typ}
	}
	if typ == "refresh_token" {
		token := g.form.Get("refresh_token")
		if token == "" {
			return auth.Tokens{}, refusal{400, "invalid_request", "A refresh token must be supplied."}
		}
		return s.auth.Refresh(ctx, g.client, token)
	}
	if g.form.Has("passcode") {
		return auth.Tokens{}, refusal{401, "unauthorized", "One-time passcodes are not supported: use a user name and a password"}
	}
	if hint := g.form.Get("login_hint"); hint != "" && !internalOrigin(hint) {
		return auth.Tokens{}, refusal{401, "unauthorized", "The origin provided in the login hint is invalid."}
	}
	return s.auth.Password(ctx, g.client, g.form.Get("username"), g.form.Get("password"))
}

// internalOrigin reports whether a login hint names the users kept here.
func internalOrigin(hint string) bool {
	var h struct{ Origin string }
	return json.Unmarshal([]byte(hint), &h) == nil && h.Origin == auth.OriginInternal
}

// readGrant reads the form and the client's name and secret, which come in
// the Authorization header or in the form.
func readGrant(w http.ResponseWriter, r *http.Request) (grant, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return grant{}, refusal{415, "invalid_request", "Content type must be application/x-www-form-urlencoded"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return grant{}, refusal{400, "invalid_request", "The form could not be read"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	g := grant{form: r.Form} // cf sends login_hint in the query
	id, secret, basic := r.BasicAuth()
	if basic {
		g.client, g.secret = unescaped(id), unescaped(secret)
		return g, nil
	}
	g.client, g.secret = g.form.Get("client_id"), g.form.Get("client_secret")
	if g.client == "" {
		return grant{}, refusal{401, "unauthorized", "Missing client credentials"}
	}
	return g, nil
}

// unescaped undoes the form encoding that OAuth asks for in a Basic header.
// Few clients do it, so what is not encoded is taken as it is.
func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil && url.QueryEscape(u) == s {
		return u
	}
	return s
}

// refusal is an answer that is not the auth service's to give.
type refusal struct {
	status            int
	code, description string
}

func (r refusal) Error() string { return r.description }

// refuse answers with UAA's words. Clients tell "unauthorized" (credentials
// are wrong) from "invalid_token" (log in again), and print anything else.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, from string, err error) {
	var no refusal
	switch {
	case errors.As(err, &no):
	case errors.Is(err, auth.ErrLocked):
		no = refusal{401, "unauthorized", messageOf(err)}
	case errors.Is(err, auth.ErrInvalidClient):
		no = refusal{401, "invalid_client", "Bad credentials"}
	case errors.Is(err, auth.ErrBadCredentials):
		no = refusal{401, "unauthorized", "Bad credentials"}
	case errors.Is(err, auth.ErrInvalidToken):
		no = refusal{401, "invalid_token", "The token expired, was revoked, or the token ID is incorrect."}
	case platform.KindOf(err) == platform.KindUnavailable:
		w.Header().Set("Retry-After", "1")
		no = refusal{http.StatusTooManyRequests, "too_many_requests", messageOf(err)}
	case r.Context().Err() != nil:
		return
	default:
		s.logger.ErrorContext(r.Context(), "could not answer a token request", "err", err)
		no = refusal{500, "server_error", "An unknown error occurred."}
	}
	if no.status == http.StatusUnauthorized {
		s.failures.fail(from)
		w.Header().Set("WWW-Authenticate", `Basic realm="UAA/client", error="`+no.code+`"`)
	}
	body := v3.OAuthError{Error: no.code, Description: no.description}
	if e, ok := errors.AsType[*platform.Error](err); ok && errors.Is(err, auth.ErrLocked) {
		body.Hint = e.Hint
	}
	answer(w, no.status, body)
}

func messageOf(err error) string {
	if e, ok := errors.AsType[*platform.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}

func tooMany(w http.ResponseWriter, wait time.Duration) {
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	answer(w, http.StatusTooManyRequests, v3.OAuthError{
		Error:       "too_many_requests",
		Description: "Too many failed logins from this address: try again in " + strconv.Itoa(seconds) + " s",
	})
}

// revoke answers a logout: it ends the login that the caller's token comes
// from, with all its tokens. Whoever asks must hold the token.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	who, err := s.caller(r)
	switch {
	case err != nil:
		answer(w, http.StatusUnauthorized, v3.OAuthError{Error: "invalid_token", Description: "The token is not valid"})
	case who.TokenID != r.PathValue("jti"):
		answer(w, http.StatusForbidden, v3.OAuthError{Error: "insufficient_scope", Description: "Only one's own token can be revoked"})
	default:
		if err := s.auth.Revoke(r.Context(), who); err != nil {
			s.refuse(w, r, remote(r), err)
			return
		}
		answer(w, http.StatusOK, struct{}{})
	}
}

// remote returns the address a request came from: of the socket, never of a
// header, which anybody can write.
func remote(r *http.Request) string {
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return a.Addr().Unmap().String()
	}
	return r.RemoteAddr
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went needs no answer
}
