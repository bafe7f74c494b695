package uaa

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

const password = "correct horse battery staple"

func newServer(t *testing.T) (*Server, *auth.Service) {
	t.Helper()
	s, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	a := auth.New(auth.Config{Store: s})
	if err := a.Bootstrap(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	robot := platform.User{Resource: platform.NewResource(time.Now()), Username: "robot", Origin: auth.OriginClient, Scopes: []string{auth.ScopeAdmin}}
	if _, err := a.CreateUser(t.Context(), platform.System, robot, "robot's long secret"); err != nil {
		t.Fatal(err)
	}
	return New(Config{Auth: a, Store: s}), a
}

// ask sends a token request; client is "id:secret" for the Basic header, or
// "" for none.
func ask(s *Server, client string, form url.Values, query string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/oauth/token"+query, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(client)))
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func passwordGrant(user, pw string) url.Values {
	return url.Values{"grant_type": {"password"}, "username": {user}, "password": {pw}}
}

func TestToken_Grants(t *testing.T) {
	s, a := newServer(t)
	w := ask(s, "cf:", passwordGrant("admin", password), "")
	var token map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if token["token_type"] != "bearer" || token["refresh_token"] == "" || token["jti"] == "" || token["expires_in"].(float64) < 600 {
		t.Errorf("got %v", token)
	}
	if !strings.Contains(fmt.Sprint(token["scope"]), "cloud_controller.admin") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %v with %v", token, w.Header())
	}
	if _, err := a.Verify(t.Context(), token["access_token"].(string)); err != nil {
		t.Error(err)
	}
	// What a JWT library of the CLI needs.
	parts := strings.Split(token["access_token"].(string), ".")
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	json.Unmarshal(b, &claims)
	for _, name := range []string{"user_name", "user_id", "origin"} {
		if s, ok := claims[name].(string); !ok || s == "" {
			t.Errorf("claim %s is %v", name, claims[name])
		}
	}

	w = ask(s, "cf:", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token["refresh_token"].(string)}}, "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"refresh_token"`) {
		t.Errorf("refresh: %d %s", w.Code, w.Body)
	}
	w = ask(s, "cf:", passwordGrant("admin", password), "?login_hint="+url.QueryEscape(`{"origin":"uaa"}`))
	if w.Code != 200 {
		t.Errorf("with an origin: %d %s", w.Code, w.Body)
	}
	// A client's name and secret in the form, and in the header.
	w = ask(s, "", url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}, "client_secret": {"robot's long secret"}}, "")
	if w.Code != 200 || strings.Contains(w.Body.String(), "refresh_token") {
		t.Errorf("client in the form: %d %s", w.Code, w.Body)
	}
	for _, secret := range []string{"robot's long secret", url.QueryEscape("robot's long secret")} {
		if w := ask(s, "robot:"+secret, url.Values{"grant_type": {"client_credentials"}}, ""); w.Code != 200 {
			t.Errorf("client in the header as %q: %d %s", secret, w.Code, w.Body)
		}
	}
}

func TestToken_Refusals(t *testing.T) {
	s, _ := newServer(t)
	for _, tc := range []struct {
		name, client string
		form         url.Values
		query        string
		status       int
		want         string
	}{
		{"wrong password", "cf:", passwordGrant("admin", "wrong"), "", 401, `{"error":"unauthorized","error_description":"Bad credentials"}`},
		{"unknown user", "cf:", passwordGrant("nobody", "wrong"), "", 401, `{"error":"unauthorized","error_description":"Bad credentials"}`},
		{"unknown client", "nobody:x", passwordGrant("admin", password), "", 401, `{"error":"invalid_client","error_description":"Bad credentials"}`},
		{"wrong secret", "robot:wrong", url.Values{"grant_type": {"client_credentials"}}, "", 401, `{"error":"invalid_client","error_description":"Bad credentials"}`},
		{"no client", "", passwordGrant("admin", password), "", 401, `{"error":"unauthorized","error_description":"Missing client credentials"}`},
		{"bad refresh token", "cf:", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, "", 401, `{"error":"invalid_token","error_description":"The token expired, was revoked, or the token ID is incorrect."}`},
		{"no refresh token", "cf:", url.Values{"grant_type": {"refresh_token"}}, "", 400, `"error":"invalid_request"`},
		{"no grant", "cf:", url.Values{}, "", 400, `{"error":"invalid_request","error_description":"Missing grant type"}`},
		{"odd grant", "cf:", url.Values{"grant_type": {"magic"}}, "", 400, `"error":"unsupported_grant_type"`},
		{"passcode", "cf:", url.Values{"grant_type": {"password"}, "passcode": {"x"}}, "", 401, `"error":"unauthorized"`},
		{"other origin", "cf:", passwordGrant("admin", password), "?login_hint=" + url.QueryEscape(`{"origin":"ldap"}`), 401, `"error":"unauthorized"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(s, tc.client, tc.form, tc.query)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tc.status, tc.want)
			}
		})
	}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(`{}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 415 {
		t.Errorf("JSON: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "cf:", url.Values{"grant_type": {strings.Repeat("x", 100_000)}}, ""); w.Code != 400 {
		t.Errorf("a large form: %d %s", w.Code, w.Body)
	}
}

func TestToken_AnAddressThatKeepsFailingHasToWait(t *testing.T) {
	s, _ := newServer(t)
	now := time.Now()
	s.failures.now = func() time.Time { return now }
	bad := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
	for range maxFailures {
		if w := ask(s, "cf:", bad, ""); w.Code != 401 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	w := ask(s, "cf:", passwordGrant("admin", password), "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	now = now.Add(failureWindow)
	if w := ask(s, "cf:", passwordGrant("admin", password), ""); w.Code != 200 {
		t.Errorf("after a minute: %d %s", w.Code, w.Body)
	}
	if wait := s.failures.locked("192.0.2.1"); wait != 0 {
		t.Errorf("a success left %s to wait", wait)
	}
}

func TestLimiter_IsBounded(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for i := range 3 * maxAddresses {
		l.fail(fmt.Sprint(i))
	}
	if len(l.addresses) > maxAddresses {
		t.Errorf("%d addresses are kept", len(l.addresses))
	}
}

func TestLogin_Prompts(t *testing.T) {
	s := New(Config{})
	r := httptest.NewRequest("GET", "/login", nil)
	r.Host = "box.test:8181"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var l v3.Login
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	if l.Prompts["username"][0] != "text" || l.Prompts["password"][0] != "password" || l.Links["uaa"] != "http://box.test:8181" || l.App.Version != version {
		t.Errorf("got %+v", l)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/Groups", nil))
	if w.Code != 404 || !strings.Contains(w.Body.String(), `"Unknown request"`) {
		t.Errorf("unknown path: %d %s", w.Code, w.Body)
	}
}

func TestRevoke_EndsOnesOwnLogin(t *testing.T) {
	s, a := newServer(t)
	tokens, err := a.Password(t.Context(), "cf", "admin", password)
	if err != nil {
		t.Fatal(err)
	}
	revoke := func(jti, token string) int {
		r := httptest.NewRequest("DELETE", "/oauth/token/revoke/"+jti, nil)
		r.Header.Set("Authorization", "bearer "+token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	if got := revoke(tokens.ID, "nonsense"); got != 401 {
		t.Errorf("without a token: %d", got)
	}
	if got := revoke("another", tokens.Access); got != 403 {
		t.Errorf("another's: %d", got)
	}
	if got := revoke(tokens.ID, tokens.Access); got != 200 {
		t.Errorf("one's own: %d", got)
	}
	if _, err := a.Verify(t.Context(), tokens.Access); err == nil {
		t.Error("the token is still good")
	}
}
