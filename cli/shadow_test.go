package cli

import (
	"slices"
	"testing"

	v3 "weir/api/v3"
)

func TestChangesThings_UnlessAllMethodsAreSafe(t *testing.T) {
	for _, o := range []v3.ShadowOptions{{}, {Methods: []string{"GET", "head"}}} {
		if changesThings(o) {
			t.Errorf("%+v", o)
		}
	}
	for _, o := range []v3.ShadowOptions{{AllMethods: true}, {Methods: []string{"GET", "POST"}}, {Methods: []string{"delete"}}} {
		if !changesThings(o) {
			t.Errorf("%+v", o)
		}
	}
	if got := listOf(" /a, /b,,"); !slices.Equal(got, []string{"/a", "/b"}) || len(listOf("")) != 0 {
		t.Errorf("%q", got)
	}
}
