package api

import (
	"regexp"
	"strings"

	"weir/internal/platform"
)

// parseLabelSelector reads conditions such as "env=prod,tier in (web,api),!old".
func parseLabelSelector(s string) ([]platform.LabelRequirement, error) {
	var reqs []platform.LabelRequirement
	for _, part := range splitSelector(s) {
		r, ok := parseLabelRequirement(strings.TrimSpace(part))
		if !ok {
			return nil, badQuery("Invalid label_selector value: '" + strings.TrimSpace(part) + "'")
		}
		reqs = append(reqs, r)
	}
	return reqs, nil
}

// splitSelector splits at the commas outside of parentheses.
func splitSelector(s string) []string {
	var parts []string
	depth, from := 0, 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, s[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, s[from:])
}

var (
	labelSet    = regexp.MustCompile(`^(\S+)\s+(in|notin)\s*\(([^()]*)\)$`)
	labelEquals = regexp.MustCompile(`^([^=!\s]+)\s*(!=|==|=)\s*([^=!\s]*)$`)
)

func parseLabelRequirement(s string) (platform.LabelRequirement, bool) {
	var r platform.LabelRequirement
	if m := labelSet.FindStringSubmatch(s); m != nil {
		r.Key, r.Op = m[1], platform.LabelOp(m[2])
		for v := range strings.SplitSeq(m[3], ",") {
			r.Values = append(r.Values, strings.TrimSpace(v))
		}
		return r, validLabels(r)
	}
	if m := labelEquals.FindStringSubmatch(s); m != nil {
		r.Key, r.Op, r.Values = m[1], platform.LabelIn, []string{m[3]}
		if m[2] == "!=" {
			r.Op = platform.LabelNotIn
		}
		return r, validLabels(r)
	}
	r.Key, r.Op = s, platform.LabelExists
	if key, ok := strings.CutPrefix(s, "!"); ok {
		r.Key, r.Op = strings.TrimSpace(key), platform.LabelNotExists
	}
	return r, validLabels(r)
}

func validLabels(r platform.LabelRequirement) bool {
	if checkMetadataKey(r.Key) != "" {
		return false
	}
	for _, v := range r.Values {
		if checkLabelValue(v) != "" {
			return false
		}
	}
	return true
}
