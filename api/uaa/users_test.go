package uaa

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	v3 "weir/api/v3"
	"weir/internal/auth"
)

// users asks the endpoints of users as somebody.
type users struct {
	t     *testing.T
	s     *Server
	token string
}

func (u users) do(want int, method, path, body string) string {
	u.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "bearer "+u.token)
	w := httptest.NewRecorder()
	u.s.ServeHTTP(w, r)
	if w.Code != want {
		u.t.Errorf("%s %s %s: %d %s, want %d", method, path, body, w.Code, w.Body, want)
	}
	return w.Body.String()
}

func (u users) as(name, password string) users {
	u.t.Helper()
	w := ask(u.s, "cf:", passwordGrant(name, password), "")
	var token v3.Token
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || w.Code != 200 {
		u.t.Fatalf("login of %s: %d %s", name, w.Code, w.Body)
	}
	u.token = token.AccessToken
	return u
}

// The calls of cf create-user, passwd and delete-user, as the CLI sends them.
func TestUsers_AreMadeChangedAndDeletedAsCfDoes(t *testing.T) {
	s, a := newServer(t)
	nobody := users{t, s, "x"}
	admin := nobody.as("admin", password)
	find := "/Users?filter=userName+eq+%22dana%22+and+origin+eq+%22uaa%22"
	if got := admin.do(200, "GET", find, ""); !strings.Contains(got, `"resources":[]`) || !strings.Contains(got, `"totalResults":0`) {
		t.Errorf("nobody yet: %s", got)
	}
	const dana = `{"userName":"dana","password":"danas password","origin":"uaa","name":{"familyName":"dana","givenName":"dana"},"emails":[{"value":"dana","primary":true}]}`
	var made v3.SCIMUser
	if err := json.Unmarshal([]byte(admin.do(201, "POST", "/Users", dana)), &made); err != nil || made.ID == "" || made.UserName != "dana" || made.Origin != "uaa" {
		t.Fatalf("%+v %v", made, err)
	}
	if got := admin.do(409, "POST", "/Users", dana); !strings.Contains(got, "scim_resource_already_exists") {
		t.Errorf("again: %s", got)
	}
	if got := admin.do(200, "GET", find, ""); !strings.Contains(got, made.ID) || strings.Contains(got, "robot") {
		t.Errorf("found: %s", got)
	}
	if got := admin.do(200, "GET", "/Users?filter=origin+eq+%22client%22", ""); !strings.Contains(got, "robot") {
		t.Errorf("clients: %s", got)
	}
	admin.do(400, "GET", "/Users?filter=userName+sw+%22d%22", "")
	admin.do(422, "POST", "/Users", `{"userName":"eve","password":"short"}`)
	admin.do(400, "POST", "/Users", `{"userName":"eve","password":"eves password","role":"king"}`)
	admin.do(400, "POST", "/Users", `{"userName":" eve","password":"eves password"}`)
	admin.do(400, "POST", "/Users", `{"userName":"eve","password":"eves password","origin":"ldap"}`)
	admin.do(400, "POST", "/Users", `{`)

	own := "/Users/" + made.ID + "/password"
	d := nobody.as("dana", "danas password")
	for _, call := range [][2]string{{"GET", "/Users"}, {"POST", "/Users"}, {"DELETE", "/Users/" + made.ID}, {"PUT", "/Users/none/password"}} {
		if got := d.do(403, call[0], call[1], `{"password":"stolen password"}`); !strings.Contains(got, "insufficient_scope") {
			t.Errorf("%s: %s", call, got)
		}
		nobody.do(401, call[0], call[1], "{}")
	}
	d.do(401, "PUT", own, `{"oldPassword":"guessed","password":"new password"}`)
	d.do(422, "PUT", own, `{"oldPassword":"danas password","password":"short"}`)
	d.do(200, "PUT", own, `{"oldPassword":"danas password","password":"new password"}`)
	d.do(401, "PUT", own, `{"oldPassword":"new password","password":"newer password"}`) // the token ended with the password
	admin.do(200, "PUT", own, `{"password":"newest password"}`)
	admin.do(404, "PUT", "/Users/none/password", `{"password":"newest password"}`)
	d = nobody.as("dana", "newest password")
	admin.do(200, "DELETE", "/Users/"+made.ID, "")
	admin.do(200, "DELETE", "/Users/"+made.ID, "") // the API of apps was asked first
	d.do(401, "PUT", own, "{}")

	if got := admin.do(201, "POST", "/Users", `{"userName":"ci","password":"cis long secret","origin":"client","role":"admin"}`); !strings.Contains(got, `"client"`) {
		t.Errorf("a client: %s", got)
	}
	tokens, err := a.ClientCredentials(t.Context(), "ci", "cis long secret")
	if err != nil {
		t.Fatal(err)
	}
	if who, err := a.Verify(t.Context(), tokens.Access); err != nil || !auth.Allowed(who, auth.Admin) {
		t.Errorf("%+v %v", who, err)
	}
}

func TestUsers_TheOwnerStays(t *testing.T) {
	s, a := newServer(t)
	admin := users{t, s, ""}.as("admin", password)
	who, err := a.Verify(t.Context(), admin.token)
	if err != nil {
		t.Fatal(err)
	}
	if got := admin.do(400, "DELETE", "/Users/"+who.GUID, ""); !strings.Contains(got, "cannot be deleted") {
		t.Error(got)
	}
}
