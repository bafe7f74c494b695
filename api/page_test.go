package api

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

func TestItems_EmptyIsAFilterAndCommasInNamesAreEncodedTwice(t *testing.T) {
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"names=", []string{""}},
		{"names=a,b", []string{"a", "b"}},
		{"names=a%252Cb,c", []string{"a,b", "c"}},
		{"names=a%2Cb", []string{"a", "b"}},
		{"names=50%25", []string{"50%"}},
		{"names=a&names=b", []string{"a", "b"}},
		{"names=a%2Bb", []string{"a+b"}},
	} {
		q, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := items(q["names"]); !cmp.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.query, got, tc.want)
		}
	}
}

func TestList_Parse(t *testing.T) {
	var l list
	q, _ := url.ParseQuery("names=a&target_guids[not]=x&hosts=&order_by=-name&page=2&per_page=7&include=Space" +
		"&created_ats[gt]=2026-01-02T03:04:05Z&label_selector=env%3Dprod,!old")
	if err := l.parse(q, "names,target_guids[not],hosts,include=space|org"); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"names": {"a"}, "hosts": {""}}
	if !cmp.Equal(l.In, want) || !cmp.Equal(l.NotIn, map[string][]string{"target_guids": {"x"}}) {
		t.Errorf("filters: %v, not %v", l.In, l.NotIn)
	}
	if l.OrderBy != "name" || !l.Desc || l.Page != 2 || l.PerPage != 7 || !l.has("space") || len(l.Created) != 1 || len(l.Labels) != 2 {
		t.Errorf("got %+v", l)
	}
	for _, bad := range []string{"per_page=0", "per_page=5001", "page=0", "page=x", "page=1000000001", "page=9223372036854775807", "include=moon", "created_ats=yesterday", "label_selector=a%20b"} {
		q, _ := url.ParseQuery(bad)
		if err := new(list).parse(q, "include=space"); platform.KindOf(err) != platform.KindBadRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestPageOfAll_OfAPageBeyondTheLastIsEmpty(t *testing.T) {
	q, _ := url.ParseQuery("page=1000000000&per_page=5000")
	var l list
	if err := l.parse(q, ""); err != nil {
		t.Fatal(err)
	}
	c := call{request: httptest.NewRequest("GET", "/v3/things", nil)}
	if p := pageOfAll(c, l, []int{1, 2, 3}); len(p.Resources) != 0 || p.Pagination.TotalResults != 3 {
		t.Errorf("got %+v", p)
	}
}

func TestPagination_LinksAreAbsoluteAndKeepTheQuery(t *testing.T) {
	r := httptest.NewRequest("GET", "/v3/apps?names=a%252Cb&page=2&per_page=2", nil)
	var l list
	if err := l.parse(r.URL.Query(), "names"); err != nil {
		t.Fatal(err)
	}
	p := call{urls: "http://api.x", request: r}.pagination(l, 5)
	want := v3.Pagination{
		TotalResults: 5, TotalPages: 3,
		First:    &v3.Link{Href: "http://api.x/v3/apps?names=a%252Cb&page=1&per_page=2"},
		Last:     &v3.Link{Href: "http://api.x/v3/apps?names=a%252Cb&page=3&per_page=2"},
		Next:     &v3.Link{Href: "http://api.x/v3/apps?names=a%252Cb&page=3&per_page=2"},
		Previous: &v3.Link{Href: "http://api.x/v3/apps?names=a%252Cb&page=1&per_page=2"},
	}
	if !cmp.Equal(p, want) {
		t.Error(cmp.Diff(want, p))
	}
	if p := (call{urls: "http://api.x", request: r}).pagination(list{}.withPages(1, 50), 0); p.TotalPages != 1 || p.Next != nil || p.Previous != nil {
		t.Errorf("an empty list has %+v", p)
	}
}

func (l list) withPages(page, perPage int) list {
	l.Page, l.PerPage = page, perPage
	return l
}

func TestParseLabelSelector(t *testing.T) {
	got, err := parseLabelSelector("env=prod, tier in (web, api),x!=y,a.bb/k,!old,z notin (1),e==f")
	if err != nil {
		t.Fatal(err)
	}
	want := []platform.LabelRequirement{
		{Key: "env", Op: platform.LabelIn, Values: []string{"prod"}},
		{Key: "tier", Op: platform.LabelIn, Values: []string{"web", "api"}},
		{Key: "x", Op: platform.LabelNotIn, Values: []string{"y"}},
		{Key: "a.bb/k", Op: platform.LabelExists},
		{Key: "old", Op: platform.LabelNotExists},
		{Key: "z", Op: platform.LabelNotIn, Values: []string{"1"}},
		{Key: "e", Op: platform.LabelIn, Values: []string{"f"}},
	}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func FuzzParseLabelSelector(f *testing.F) {
	for _, s := range []string{"a=b", "a in (b,c),!d", "x notin ()", "(((", "a,,b", "a in (b", "!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		reqs, err := parseLabelSelector(s)
		if err != nil {
			return
		}
		for _, r := range reqs {
			if r.Key == "" || strings.ContainsAny(r.Key, " ()=") {
				t.Fatalf("%q gives %+v", s, r)
			}
		}
	})
}

func TestApplyMetadata(t *testing.T) {
	one, none := "1", (*string)(nil)
	m := platform.Metadata{Labels: map[string]string{"a": "0", "b": "0"}}
	before := m.Labels
	err := applyMetadata(&m, &v3.MetadataPatch{
		Labels:      map[string]*string{"a": none, "example.com/c": &one},
		Annotations: map[string]*string{"note": &one},
	})
	if err != nil || !cmp.Equal(m.Labels, map[string]string{"b": "0", "example.com/c": "1"}) || m.Annotations["note"] != "1" {
		t.Errorf("got %+v, %v", m, err)
	}
	if len(before) != 2 {
		t.Error("the old map was changed")
	}
	long := strings.Repeat("x", 64)
	for key, want := range map[string]string{
		"":                        "key cannot be empty string",
		"-a":                      "key '-a' contains invalid characters",
		long:                      "is greater than 63 characters",
		"no dns/a":                "must be in valid dns format",
		"cloudfoundry.org/a":      "is reserved",
		"example.com/" + long:     "is greater than 63 characters",
		"example.com/" + "a b":    "contains invalid characters",
		"x.example.com/trailing-": "contains invalid characters",
	} {
		err := applyMetadata(&m, &v3.MetadataPatch{Labels: map[string]*string{key: &one}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Metadata label key error: ") {
			t.Errorf("key %q: %v, want %q", key, err, want)
		}
	}
	for _, bad := range []string{long, "a b", "a/b"} {
		if err := applyMetadata(&m, &v3.MetadataPatch{Labels: map[string]*string{"k": &bad}}); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("value %q: %v", bad, err)
		}
	}
}
