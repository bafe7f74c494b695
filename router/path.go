package router

import "strings"

// isPlainPath reports whether a raw path means the same to everybody: no
// empty or dot segments, no backslash, and none of the escapes that some
// servers undo before they look at segments.
func isPlainPath(path string) bool {
	if path == "" || path[0] != '/' {
		return path == "*"
	}
	for i := range len(path) {
		switch path[i] {
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.' && isDotSegment(path[i+1:])) {
				return false
			}
		case '\\':
			return false
		case '%':
			if i+2 >= len(path) {
				return false
			}
			switch path[i+1 : i+3] {
			case "2e", "2E", "2f", "2F", "5c", "5C", "00":
				return false
			}
		}
	}
	return true
}

// isDotSegment reports whether s begins with the segment "." or "..".
func isDotSegment(s string) bool {
	segment, _, _ := strings.Cut(s, "/")
	return segment == "." || segment == ".."
}

// cleanPath returns what a server may take a path for that is not plain: the
// escapes of separators and dots undone, dot segments resolved, empty ones
// left out. It returns false for a path that nobody should take for anything.
func cleanPath(path string) (string, bool) {
	if strings.Contains(path, "%00") {
		return "", false
	}
	undo := strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", "\\", "/")
	var segments []string
	for segment := range strings.SplitSeq(undo.Replace(path), "/") {
		switch segment {
		case "", ".":
		case "..":
			if len(segments) > 0 {
				segments = segments[:len(segments)-1]
			}
		default:
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/"), true
}

// splitTarget returns the raw path and query of a request target.
func splitTarget(target string) (path, query string, ok bool) {
	target, ok = originForm(target)
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i:], ok
	}
	return target, "", ok
}

// originForm returns the path and query of a request target, byte for byte.
func originForm(target string) (string, bool) {
	for i := range len(target) {
		if c := target[i]; c < 0x21 || c > 0x7e || c == '#' {
			return "", false
		}
	}
	if target == "" || target == "*" || target[0] == '/' {
		return target, target != ""
	}
	_, rest, found := strings.Cut(target, "://")
	i := strings.IndexAny(rest, "/?")
	switch {
	case !found:
		return "", false
	case i < 0:
		return "/", true
	case rest[i] == '?':
		return "/" + rest[i:], true
	}
	return rest[i:], true
}
