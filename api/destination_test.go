package api_test

import (
	"fmt"
	"testing"

	v3 "weir/api/v3"
)

// A shadow of a route is a destination of weight 0 for clients that know
// nothing of shadows, and stays one whatever they write back.
func TestDestinations_OfModeShadow(t *testing.T) {
	f := newFixture(t)
	shop, _ := f.app("shop")
	next, _ := f.app("next")
	domain := f.wants(201, "POST", "/v3/domains", `{"name":"example.com"}`).guid(t)
	route := "/v3/routes/" + f.wants(201, "POST", "/v3/routes", `{"host":"shop","relationships":{"space":{"data":{"guid":"`+f.space+
		`"}},"domain":{"data":{"guid":"`+domain+`"}}}}`).guid(t)
	ways := route + "/destinations"
	is := func(what string, want ...string) (shadow string) {
		t.Helper()
		var all v3.Destinations
		f.get(ways, &all)
		var got []string
		for _, d := range all.Destinations {
			weight := "null"
			if d.Weight != nil {
				weight = fmt.Sprint(*d.Weight)
			}
			got = append(got, fmt.Sprintf("%s %s%d", weight, d.Mode, d.ShadowPercent))
			shadow = d.GUID
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		return shadow
	}
	app := func(guid, more string) string { return `{"app":{"guid":"` + guid + `"}` + more + `}` }
	f.wants(200, "POST", ways, `{"destinations":[`+app(shop.GUID, "")+`,`+app(next.GUID, `,"mode":"shadow","shadow_percent":7`)+`]}`)
	way := ways + "/" + is("added", "null 0", "0 shadow7")
	f.wants(200, "POST", ways, `{"destinations":[`+app(next.GUID, "")+`]}`)
	f.wants(200, "PATCH", ways, `{"destinations":[`+app(shop.GUID, `,"weight":50`)+`,`+app(next.GUID, `,"weight":0`)+`]}`)
	f.wants(200, "PATCH", way, `{"protocol":"http1"}`)
	is("written back", "50 0", "0 shadow7")
	f.wants(422, "PATCH", way, `{"weight":5}`)
	f.wants(422, "PATCH", way, `{"mode":"twilight"}`)
	f.wants(422, "PATCH", way, `{"shadow_percent":101}`)
	f.wants(422, "POST", ways, `{"destinations":[`+app(shop.GUID, `,"shadow_percent":7`)+`]}`)
	f.wants(200, "PATCH", way, `{"shadow_percent":20}`)
	is("of another share", "50 0", "0 shadow20")
	f.wants(200, "PATCH", way, `{"mode":"live","weight":30}`)
	is("live", "50 0", "30 0")
	f.wants(200, "PATCH", way, `{"mode":"shadow"}`)
	is("of all", "50 0", "0 shadow100")
	f.wants(200, "PATCH", way, `{"mode":"live"}`)
	is("live again", "50 0", "null 0")
}
