package shadow

import (
	"strings"

	"weir/internal/platform"
)

// alwaysIgnored differ between any two answers and mean nothing.
var alwaysIgnored = []string{
	"header:date", "header:age", "header:server", "header:etag", "header:x-request-id", "header:traceparent",
}

// Ignores are the fields a report leaves out.
type Ignores struct{ rules []string }

// ParseIgnores reads rules: a path into a JSON body ("$.ts", "$.items[*].at"),
// a name anywhere in it ("$..generatedAt"), "header:NAME", "status" or "body".
func ParseIgnores(rules []string) (Ignores, error) {
	out := Ignores{rules: append([]string(nil), alwaysIgnored...)}
	for _, r := range rules {
		name, isHeader := strings.CutPrefix(strings.ToLower(r), "header:")
		switch {
		case isHeader && name != "":
			out.rules = append(out.rules, "header:"+name)
		case r == fieldStatus, r == fieldBody, strings.HasPrefix(r, "$.") && len(r) > 2, strings.HasPrefix(r, "$["):
			out.rules = append(out.rules, r)
		default:
			return Ignores{}, &platform.Error{
				Kind: platform.KindInvalid, Msg: "cannot ignore '" + r + "'",
				Hint: "write a path into the JSON body like '$.ts', '$.items[*].at' or '$..ts', 'header:NAME', 'status' or 'body'",
			}
		}
	}
	return out, nil
}

// match reports whether the field, or what it lies in, is ignored.
func (g Ignores) match(field string) bool {
	for _, r := range g.rules {
		if name, ok := strings.CutPrefix(r, "$.."); ok {
			if strings.HasPrefix(field, "$") && within(lastNames(field), name) {
				return true
			}
			continue
		}
		if covers(r, field) || covers(r, anyIndex(field)) {
			return true
		}
	}
	return false
}

// covers reports whether field is rule or lies below it.
func covers(rule, field string) bool {
	rest, ok := strings.CutPrefix(field, rule)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func lastNames(path string) []string { return strings.Split(anyIndex(path), ".") }

func within(names []string, name string) bool {
	for _, n := range names {
		if strings.TrimSuffix(n, "[*]") == name {
			return true
		}
	}
	return false
}
