package rollout

import (
	"maps"
	"slices"

	"weir/internal/platform"
	"weir/router"
)

// setMatch gives versions the conditions under which requests come to them.
func (t *traffic) setMatch(match map[string][]platform.Match) error {
	for _, guid := range slices.Sorted(maps.Keys(match)) {
		v, err := t.version(guid)
		if err != nil {
			return err
		}
		if err := checkMatch(match[guid]); err != nil {
			return err
		}
		v.Match = match[guid]
	}
	return nil
}

// checkMatch refuses conditions that the router would not understand.
func checkMatch(all []platform.Match) error {
	if len(all) > platform.MaxMatches {
		return platform.Invalidf("a version has at most %d match rules (got %d)", platform.MaxMatches, len(all))
	}
	for _, m := range all {
		if err := router.CheckMatch(router.Match(m)); err != nil {
			return platform.Invalidf("%v", err)
		}
	}
	return nil
}
