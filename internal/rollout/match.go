package rollout

import (
	"maps"
	"net"
	"regexp"
	"slices"

	"weir/internal/platform"
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
	if len(all) > maxMatches {
		return platform.Invalidf("a version has at most %d match rules (got %d)", maxMatches, len(all))
	}
	for _, m := range all {
		of := 0
		for _, s := range []string{m.Header, m.Cookie, m.CIDR} {
			if s != "" {
				of++
			}
		}
		how := 0
		for _, s := range []string{m.Exact, m.Prefix, m.Regex} {
			if s != "" {
				how++
			}
		}
		_, _, cidr := net.ParseCIDR(m.CIDR)
		_, regex := regexp.Compile(m.Regex)
		switch {
		case of != 1:
			return platform.Invalidf("a match rule names one of header, cookie and cidr")
		case how > 1 || m.CIDR != "" && how > 0:
			return platform.Invalidf("a match rule has at most one of exact, prefix and regex, and none with cidr")
		case m.CIDR != "" && cidr != nil:
			return platform.Invalidf("cidr %q of a match rule is no network such as 192.0.2.0/24", m.CIDR)
		case regex != nil || len(m.Regex) > maxRegex:
			return platform.Invalidf("regex %q of a match rule cannot be used", m.Regex)
		}
	}
	return nil
}

const (
	maxMatches = 16
	maxRegex   = 256
)
