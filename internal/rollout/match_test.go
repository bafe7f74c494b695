package rollout

import (
	"testing"

	"weir/internal/platform"
)

// A table that the router refuses holds the changes of all apps up: what one
// of them asks for must not come that far.
func TestCheckMatch_TakesWhatTheRouterUnderstandsAlone(t *testing.T) {
	for _, m := range []platform.Match{
		{Header: "X-Team"},
		{Header: "Host", Exact: "beta.example.com"},
		{Header: "Host", Exact: "[::1]"},
		{Cookie: "beta", Prefix: "o"},
		{CIDR: "192.0.2.0/24"},
		{CIDR: "192.0.2.1"},
		{CIDR: "2001:db8::/32"},
	} {
		if err := checkMatch([]platform.Match{m}); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, m := range []platform.Match{
		{},
		{Header: "X Y"},
		{Header: "X:"},
		{Cookie: "a;b"},
		{CIDR: "::ffff:192.0.2.0/120"},
		{CIDR: "192.0.2.0/33"},
		{Header: "A", Regex: "("},
		{Header: "A", Exact: "a", Regex: "b"},
		{Header: "A", Cookie: "b"},
		{CIDR: "192.0.2.0/24", Exact: "a"},
		{Header: "Host", Exact: "Beta.example.com"},
		{Header: "Host", Prefix: "beta.example.com:80"},
	} {
		if err := checkMatch([]platform.Match{m}); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if err := checkMatch(make([]platform.Match, platform.MaxMatches+1)); err == nil {
		t.Error("no end to them")
	}
}
