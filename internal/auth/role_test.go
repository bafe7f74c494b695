package auth_test

import (
	"testing"

	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

func TestRole_HoldsAtOnceWhatItTakesAway(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	u, err := s.CreateUser(ctx, platform.System, platform.User{Username: "ada"}, "difference engine")
	must(t, err)
	if got := auth.RoleOf(u); got != auth.RoleNone {
		t.Errorf("a new user is %s", got)
	}
	for _, c := range []struct {
		role                      string
		read, secrets, write, adm bool
	}{
		{auth.RoleNone, false, false, false, false},
		{auth.RoleAuditor, true, false, false, false},
		{auth.RoleReader, true, true, false, false},
		{auth.RoleAdmin, true, true, true, true},
	} {
		u, err := s.ChangeUser(ctx, platform.System, u.GUID, auth.UserChange{Role: c.role})
		must(t, err)
		tokens, err := s.Password(ctx, "cf", "ada", "difference engine")
		must(t, err)
		who, err := s.Verify(ctx, tokens.Access)
		must(t, err)
		for p, want := range map[auth.Permission]bool{auth.Read: c.read, auth.ReadSecrets: c.secrets, auth.Write: c.write, auth.Manage: c.adm, auth.Admin: c.adm} {
			if auth.RoleOf(u) != c.role || auth.Allowed(who, p) != want {
				t.Errorf("%s as %s: %t", p, auth.RoleOf(u), !want)
			}
		}
		_, err = s.ChangeUser(ctx, platform.System, u.GUID, auth.UserChange{Role: auth.RoleNone})
		must(t, err)
		if who, err = s.Verify(ctx, tokens.Access); err != nil || auth.Allowed(who, auth.Read) {
			t.Errorf("%s was taken away: %+v %v", c.role, who, err)
		}
	}
	if _, err := s.ChangeUser(ctx, platform.System, u.GUID, auth.UserChange{Role: "king"}); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("an unknown role: %v", err)
	}
	tokens, err := s.Password(ctx, "cf", "ada", "difference engine")
	must(t, err)
	must(t, s.DeleteUser(ctx, platform.System, u.GUID))
	if _, err := s.Verify(ctx, tokens.Access); err == nil {
		t.Error("the token of a deleted user is good")
	}
}

func TestOwner_CannotBeLockedOut(t *testing.T) {
	s, db, _ := setup(t)
	ctx := t.Context()
	admin, err := db.UserByName(ctx, auth.AdminName, auth.OriginInternal)
	must(t, err)
	if err := s.DeleteUser(ctx, platform.System, admin.GUID); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("deleted: %v", err)
	}
	if _, err := s.ChangeUser(ctx, platform.System, admin.GUID, auth.UserChange{Role: auth.RoleAuditor}); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("degraded: %v", err)
	}
}

// Who may do everywhere what is the first thing that is looked up when something
// has gone wrong.
func TestUsers_ChangesAreInTheAuditLog(t *testing.T) {
	s, db, _ := setup(t)
	ctx := t.Context()
	boss := platform.Actor{GUID: "boss", Name: "boss", Type: "user"}
	u, err := s.CreateUser(ctx, boss, platform.User{Username: "ada"}, "difference engine")
	must(t, err)
	_, err = s.ChangeUser(ctx, boss, u.GUID, auth.UserChange{Role: auth.RoleReader})
	must(t, err)
	must(t, s.ChangePassword(ctx, boss, u.GUID, "difference engine", "analytical engine"))
	must(t, s.DeleteUser(ctx, boss, u.GUID))
	all, _, err := db.Events(ctx, store.Query{In: map[string][]string{"target_guids": {u.GUID}}})
	must(t, err)
	want := []string{"audit.user.create", "audit.user.update", "audit.user.password", "audit.user.delete"}
	if len(all) != len(want) {
		t.Fatalf("%d events: %+v", len(all), all)
	}
	for i, e := range all {
		if e.Type != want[i] || e.Actor != boss || e.TargetName != "ada" || e.TargetType != "user" {
			t.Errorf("event %d is %+v, want %s", i, e, want[i])
		}
		if e.Data["role_before"] != nil && (e.Data["role"] != auth.RoleReader || e.Data["role_before"] != auth.RoleNone) {
			t.Errorf("the role was changed: %v", e.Data)
		}
	}
}
