package auth_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

// clock is a time that tests move.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().Truncate(time.Second).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }

// setup returns a service with the user admin, password "secret", on a store
// of its own.
func setup(t testing.TB) (*auth.Service, *store.Store, *clock) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "weir.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	c := newClock()
	s := auth.NewCheap(auth.Config{Store: db}, c.Now)
	must(t, s.Bootstrap(t.Context(), "secret"))
	return s, db, c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func login(t testing.TB, s *auth.Service) auth.Tokens {
	t.Helper()
	tokens, err := s.Password(t.Context(), "cf", "admin", "secret")
	must(t, err)
	return tokens
}

// wantIs fails unless err has the cause want, a kind and something to read.
func wantIs(t testing.TB, what string, err, want error) {
	t.Helper()
	e, ok := errors.AsType[*platform.Error](err)
	if !errors.Is(err, want) || !ok || e.Kind != platform.KindUnauthenticated || e.Msg == "" || e.Hint == "" {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestBootstrap_MakesTheAdminOnce(t *testing.T) {
	s, db, _ := setup(t)
	ctx := t.Context()
	must(t, s.Bootstrap(ctx, "another"))
	who, err := s.Verify(ctx, login(t, s).Access)
	must(t, err)
	if who.Name != "admin" || who.Type != "user" || !auth.Allowed(who, auth.Admin) {
		t.Errorf("got %+v", who)
	}
	if _, n, err := db.Users(ctx, store.Query{}); n != 1 || err != nil {
		t.Errorf("%d users, %v", n, err)
	}
	fresh, err := store.Open(ctx, filepath.Join(t.TempDir(), "weir.db"))
	must(t, err)
	defer fresh.Close()
	if err := auth.New(auth.Config{Store: fresh}).Bootstrap(ctx, ""); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("an admin without a password: %v", err)
	}
	if a, b := auth.NewPassword(), auth.NewPassword(); a == b || len(a) < 22 {
		t.Errorf("passwords %q and %q", a, b)
	}
}

func TestPassword_SurvivesARestart(t *testing.T) {
	s, db, c := setup(t)
	tokens := login(t, s)
	again := auth.NewCheap(auth.Config{Store: db}, c.Now)
	if _, err := again.Verify(t.Context(), tokens.Access); err != nil {
		t.Errorf("a token from before the restart: %v", err)
	}
	if _, err := again.Refresh(t.Context(), "cf", tokens.Refresh); err != nil {
		t.Errorf("a refresh token from before the restart: %v", err)
	}
}

func TestPassword_RefusesWrongOnesAndClients(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	_, err := s.CreateUser(ctx, platform.System, platform.User{Username: "robot", Origin: auth.OriginClient}, "robot-secret")
	must(t, err)
	for _, c := range [][2]string{{"admin", "wrong"}, {"admin", ""}, {"nobody", "secret"}, {"", ""}, {"robot", "robot-secret"}, {"admin", strings.Repeat("x", 1<<20)}} {
		_, err := s.Password(ctx, "cf", c[0], c[1])
		wantIs(t, fmt.Sprintf("%.20q", c), err, auth.ErrBadCredentials)
	}
	if _, err := s.Password(ctx, "cf", "ADMIN", "secret"); err != nil {
		t.Errorf("the name in capitals: %v", err)
	}
}

func TestClient_LogsInWithItsSecret(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	_, err := s.CreateUser(ctx, platform.System, platform.User{Username: "robot", Origin: auth.OriginClient, Scopes: []string{auth.ScopeAdminReadOnly}}, "robot-secret")
	must(t, err)
	tokens, err := s.ClientCredentials(ctx, "robot", "robot-secret")
	must(t, err)
	if tokens.Refresh != "" {
		t.Error("a client got a refresh token")
	}
	who, err := s.Verify(ctx, tokens.Access)
	must(t, err)
	if who.Type != "client" || who.Name != "robot" || !auth.Allowed(who, auth.Read) || auth.Allowed(who, auth.Write) {
		t.Errorf("got %+v", who)
	}
	claims := payload(t, tokens.Access)
	if _, ok := claims["user_name"]; ok || claims["client_id"] != "robot" {
		t.Errorf("claims of a client: %v", claims)
	}
	for _, c := range [][2]string{{"robot", "wrong"}, {"admin", "secret"}, {"cf", ""}} {
		_, err := s.ClientCredentials(ctx, c[0], c[1])
		wantIs(t, fmt.Sprint(c), err, auth.ErrInvalidClient)
	}
	for _, c := range [][2]string{{"cf", ""}, {"weir", ""}, {"robot", "robot-secret"}} {
		if err := s.CheckClient(ctx, c[0], c[1]); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, c := range [][2]string{{"cf", "x"}, {"robot", ""}, {"admin", "secret"}, {"", ""}} {
		wantIs(t, fmt.Sprint(c), s.CheckClient(ctx, c[0], c[1]), auth.ErrInvalidClient)
	}
}

func TestRefresh_RotatesAndToleratesARetry(t *testing.T) {
	s, _, c := setup(t)
	ctx := t.Context()
	first := login(t, s)
	second, err := s.Refresh(ctx, "cf", first.Refresh)
	must(t, err)
	c.advance(59 * time.Second)
	retry, err := s.Refresh(ctx, "cf", first.Refresh)
	must(t, err)
	if second.Refresh == first.Refresh || retry.Refresh != second.Refresh || retry.Access == second.Access {
		t.Error("a retry must get the same refresh token and a new access token")
	}
	third, err := s.Refresh(ctx, "cf", second.Refresh)
	must(t, err)

	// The first token once more, later: somebody else has it.
	c.advance(2 * time.Second)
	_, err = s.Refresh(ctx, "cf", first.Refresh)
	wantIs(t, "a stolen token", err, auth.ErrInvalidToken)
	for name, token := range map[string]string{"first": first.Refresh, "second": second.Refresh, "third": third.Refresh} {
		_, err = s.Refresh(ctx, "cf", token)
		wantIs(t, name+" of a family that was ended", err, auth.ErrInvalidToken)
	}
	if _, err := s.Refresh(ctx, "cf", login(t, s).Refresh); err != nil {
		t.Errorf("a new login: %v", err)
	}
}

func TestRevoke_EndsOneLogin(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	one, two := login(t, s), login(t, s)
	next, err := s.Refresh(ctx, "cf", one.Refresh)
	must(t, err)
	who, err := s.Verify(ctx, next.Access)
	must(t, err)
	must(t, s.Revoke(ctx, who))
	must(t, s.Revoke(ctx, auth.Actor{})) // a client's: nothing to end
	for name, token := range map[string]string{"first": one.Access, "next": next.Access} {
		_, err := s.Verify(ctx, token)
		wantIs(t, name, err, auth.ErrInvalidToken)
	}
	_, err = s.Refresh(ctx, "cf", next.Refresh)
	wantIs(t, "refresh", err, auth.ErrInvalidToken)
	if _, err := s.Verify(ctx, two.Access); err != nil {
		t.Errorf("the other login: %v", err)
	}
}

func TestRefresh_RefusesExpiredForeignAndMadeUpTokens(t *testing.T) {
	s, db, c := setup(t)
	ctx := t.Context()
	tokens := login(t, s)
	_, err := s.Refresh(ctx, "weir", tokens.Refresh)
	wantIs(t, "another client's", err, auth.ErrInvalidToken)
	for _, token := range []string{"", "x", tokens.Access, tokens.Refresh + "="} {
		_, err := s.Refresh(ctx, "cf", token)
		wantIs(t, "made up", err, auth.ErrInvalidToken)
	}
	c.advance(auth.RefreshLifetime + time.Second)
	_, err = s.Refresh(ctx, "cf", tokens.Refresh)
	wantIs(t, "expired", err, auth.ErrInvalidToken)

	tokens = login(t, s)
	admin, err := db.UserByName(ctx, "admin", "uaa")
	must(t, err)
	must(t, db.DeleteUser(ctx, admin.GUID))
	_, err = s.Refresh(ctx, "cf", tokens.Refresh)
	wantIs(t, "of a deleted user", err, auth.ErrInvalidToken)
	_, err = s.Verify(ctx, tokens.Access)
	wantIs(t, "access token of a deleted user", err, auth.ErrInvalidToken)
}

func TestRefresh_ParallelCallsShareOneSuccessor(t *testing.T) {
	s, _, _ := setup(t)
	first := login(t, s)
	var wg sync.WaitGroup
	next := make([]string, 8)
	for i := range next {
		wg.Go(func() {
			tokens, err := s.Refresh(context.Background(), "cf", first.Refresh)
			if err != nil {
				t.Error(err)
			}
			next[i] = tokens.Refresh
		})
	}
	wg.Wait()
	for _, n := range next {
		if n != next[0] {
			t.Fatal("parallel refreshes got different tokens")
		}
	}
}

func TestSetPassword_EndsAllTokens(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	tokens := login(t, s)
	who, err := s.Verify(ctx, tokens.Access)
	must(t, err)
	for _, bad := range []string{"", "short", strings.Repeat("x", 2000)} {
		if err := s.SetPassword(ctx, platform.System, who.GUID, bad); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%.10q was accepted: %v", bad, err)
		}
	}
	if _, err := s.Verify(ctx, tokens.Access); err != nil {
		t.Errorf("nothing was changed yet: %v", err)
	}
	must(t, s.SetPassword(ctx, platform.System, who.GUID, "a better one"))
	_, err = s.Verify(ctx, tokens.Access)
	wantIs(t, "the old access token", err, auth.ErrInvalidToken)
	_, err = s.Refresh(ctx, "cf", tokens.Refresh)
	wantIs(t, "the old refresh token", err, auth.ErrInvalidToken)
	if _, err := s.Password(ctx, "cf", "admin", "a better one"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if err := s.SetPassword(ctx, platform.System, "none", "a better one"); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("the password of nobody: %v", err)
	}
}

func TestCreateUser_ChecksWhatItIsGiven(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	u, err := s.CreateUser(ctx, platform.System, platform.User{Username: "ada"}, "difference engine")
	must(t, err)
	if u.Origin != auth.OriginInternal || strings.Contains(u.PasswordHash, "engine") || u.GUID == "" {
		t.Errorf("got %+v", u)
	}
	tokens, err := s.Password(ctx, "cf", "ada", "difference engine")
	must(t, err)
	who, err := s.Verify(ctx, tokens.Access)
	must(t, err)
	if !auth.Allowed(who, auth.LoggedIn) || auth.Allowed(who, auth.Read) {
		t.Errorf("an ordinary user without a role: %+v", who)
	}
	for _, bad := range []platform.User{
		{Username: ""},
		{Username: " ada"},
		{Username: "a\nb"},
		{Username: "\xff"},
		{Username: strings.Repeat("x", 300)},
		{Username: "eve", Origin: "ldap"},
	} {
		if _, err := s.CreateUser(ctx, platform.System, bad, "difference engine"); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%.20q from %q was accepted: %v", bad.Username, bad.Origin, err)
		}
	}
	if _, err := s.CreateUser(ctx, platform.System, platform.User{Username: "Ada"}, "difference engine"); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("the same name twice: %v", err)
	}
	if _, err := s.CreateUser(ctx, platform.System, platform.User{Username: "eve"}, "short"); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("a short password: %v", err)
	}
}

func TestLogin_LocksAnAccountAndBacksOff(t *testing.T) {
	s, _, c := setup(t)
	ctx := t.Context()
	wrong := func() error {
		_, err := s.Password(ctx, "cf", "admin", "wrong")
		return err
	}
	right := func() error {
		_, err := s.Password(ctx, "cf", "admin", "secret")
		return err
	}
	for range 4 {
		wantIs(t, "wrong", wrong(), auth.ErrBadCredentials)
	}
	must(t, right()) // forgives
	for range 5 {
		wantIs(t, "wrong", wrong(), auth.ErrBadCredentials)
	}
	wantIs(t, "right, but locked", right(), auth.ErrLocked)
	if want := "Your account has been locked because of too many failed attempts to login."; !strings.HasPrefix(right().Error(), want) {
		t.Errorf("got %q, which the cf CLI does not know", right())
	}
	if _, err := s.Password(ctx, "cf", "nobody", "x"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("another account: %v", err)
	}
	c.advance(59 * time.Second)
	wantIs(t, "almost a minute later", right(), auth.ErrLocked)
	c.advance(time.Second)
	wantIs(t, "once more wrong", wrong(), auth.ErrBadCredentials)
	c.advance(time.Minute)
	wantIs(t, "now it takes two minutes", right(), auth.ErrLocked)
	c.advance(time.Minute)
	must(t, right())
	for range 4 { // slowly: never locked
		for range 4 {
			wantIs(t, "slow", wrong(), auth.ErrBadCredentials)
		}
		c.advance(time.Minute)
	}
	must(t, right())
}

func TestLogin_ManyAtOnceNeitherLockNorSlipThrough(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := s.Password(ctx, "cf", "admin", "secret"); err != nil {
				t.Errorf("parallel right ones: %v", err)
			}
		})
	}
	wg.Wait()
	var tried atomic.Int32
	for range 40 {
		wg.Go(func() {
			if _, err := s.Password(ctx, "cf", "admin", "wrong"); errors.Is(err, auth.ErrBadCredentials) {
				tried.Add(1)
			}
		})
	}
	wg.Wait()
	if n := tried.Load(); n > 6 {
		t.Errorf("%d guesses were tried, want 5 and one on its way", n)
	}
}

func TestLogin_MadeUpNamesTakeBoundedMemory(t *testing.T) {
	s, _, c := setup(t)
	for range 5 {
		_, _ = s.Password(t.Context(), "cf", "admin", "wrong")
	}
	for i := range auth.MaxAccounts + 100 {
		s.Fail(fmt.Sprint("made-up-", i), c.Now())
	}
	if n := s.Remembered(); n > auth.MaxAccounts {
		t.Errorf("%d accounts are remembered", n)
	}
	_, err := s.Password(t.Context(), "cf", "admin", "secret")
	wantIs(t, "the locked account is not forgotten", err, auth.ErrLocked)
}

func TestAllowed_IsDeniedByDefault(t *testing.T) {
	all := []auth.Permission{auth.Public, auth.LoggedIn, auth.Read, auth.ReadSecrets, auth.Write, auth.Manage, auth.Admin, "", "made-up"}
	actor := func(scopes ...string) auth.Actor {
		return auth.Actor{Actor: platform.Actor{GUID: "x"}, Scopes: scopes}
	}
	for _, c := range []struct {
		name string
		who  auth.Actor
		want []auth.Permission
	}{
		{"nobody", auth.Actor{}, all[:1]},
		{"nobody with scopes", auth.Actor{Scopes: []string{auth.ScopeAdmin}}, all[:1]},
		{"somebody", actor("cloud_controller.read", "cloud_controller.write"), all[:2]},
		{"auditor", actor(auth.ScopeGlobalAuditor), all[:3]},
		{"reader", actor(auth.ScopeAdminReadOnly), all[:4]},
		{"admin", actor("openid", auth.ScopeAdmin), all[:7]},
	} {
		for i, p := range all {
			if got, want := auth.Allowed(c.who, p), i < len(c.want); got != want {
				t.Errorf("%s: %q is %t, want %t", c.name, p, got, want)
			}
		}
	}
	for i, p := range all {
		if got, want := p.Known(), i < 7; got != want {
			t.Errorf("%q is known: %t, want %t", p, got, want)
		}
	}
}
