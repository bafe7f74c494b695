package router

import (
	"slices"
	"strings"

	"weir/router/wire"
)

// Counting says which requests are evidence, and which of those are bad or
// marked.
type Counting struct {
	Statuses []int    `json:"statuses,omitempty"` // 400 to 499 that are bad, too
	Exclude  []string `json:"exclude,omitempty"`  // paths that are no evidence, with all below them
	Events   []string `json:"events,omitempty"`   // that count in X-Weir-Event, whatever their case; none: all
}

func (c *Counting) isBad(status int) bool { return c != nil && slices.Contains(c.Statuses, status) }

// marks reports whether an event counts.
func (c *Counting) marks(name []byte) bool {
	return c == nil || len(c.Events) == 0 || slices.ContainsFunc(c.Events, func(e string) bool { return wire.EqualFold([]byte(e), name) })
}

func (c *Counting) excludes(path string) bool { return c != nil && isUnder(c.Exclude, path) }

// isUnder reports whether a path is one of those given, or below one.
func isUnder(paths []string, path string) bool {
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(p, "/")); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

func sameCounting(a, b *Counting) bool {
	return a == b || a != nil && b != nil && slices.Equal(a.Statuses, b.Statuses) && slices.Equal(a.Exclude, b.Exclude) && slices.Equal(a.Events, b.Events)
}
