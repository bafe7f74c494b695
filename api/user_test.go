package api_test

import (
	"strings"
	"testing"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
)

// What cf's create-user, set-space-role and delete-user ask of this API, and
// weir's roles.
func TestUsers_AreKnownAndGetRoles(t *testing.T) {
	f := newFixture(t)
	dana, err := f.auth.CreateUser(t.Context(), platform.System, platform.User{Username: "dana"}, "danas password")
	if err != nil {
		t.Fatal(err)
	}
	f.wants(201, "POST", "/v3/users", `{"guid":"`+dana.GUID+`"}`)
	f.wants(201, "POST", "/v3/users", `{"username":"dana","origin":"uaa","metadata":{"labels":{"team":"shop"}}}`)
	f.wants(422, "POST", "/v3/users", `{"guid":"nobody"}`)
	f.wants(422, "POST", "/v3/users", `{}`)
	var spaces v3.List[v3.Space]
	f.get("/v3/spaces", &spaces)
	role := `{"type":"space_developer","relationships":{"user":{"data":{"username":"dana"}},"space":{"data":{"guid":"` + spaces.Resources[0].GUID + `"}}}}`
	if a := f.wants(422, "POST", "/v3/roles", role); !strings.Contains(string(a.body), "weir update-user dana --role admin") {
		t.Errorf("a role in a space: %s", a.body)
	}
	path := "/v3/users/" + dana.GUID
	f.wants(422, "PATCH", path, `{"role":"king"}`)
	f.wants(422, "PATCH", path, `{"role":""}`)
	f.wants(200, "PATCH", path, `{"role":"reader","metadata":{"annotations":{"note":"x"}}}`)
	var u v3.User
	f.get(path, &u)
	if u.Role != auth.RoleReader || u.Metadata.Labels["team"] != "shop" || u.Metadata.Annotations["note"] != "x" {
		t.Errorf("%+v", u)
	}
	if a := f.wants(202, "DELETE", path, ""); !strings.Contains(a.header.Get("Location"), "/v3/jobs/") {
		t.Errorf("no job: %v", a.header)
	}
	f.wants(404, "GET", path, "")
	f.wants(404, "DELETE", path, "")
	var all v3.List[v3.User]
	f.get("/v3/users?usernames=admin", &all)
	f.wants(422, "DELETE", "/v3/users/"+all.Resources[0].GUID, "")
}
