package router

import (
	"fmt"
	"strings"
)

// isPlainPath reports whether a raw path means the same to everybody: no
// empty or dot segments, no backslash, and no escapes but upper-case ones of
// what cannot be written without.
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
			c, ok := unescape(path[i:])
			if !ok || c == 0 || isPlainByte(c) || path[i+1] >= 'a' || path[i+2] >= 'a' {
				return false
			}
		}
	}
	return true
}

// unescape returns the byte that the escape at the beginning of s stands for.
func unescape(s string) (c byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	for _, digit := range [2]byte{s[1], s[2]} {
		letter := digit | 0x20
		switch {
		case '0' <= digit && digit <= '9':
			c = c<<4 | (digit - '0')
		case 'a' <= letter && letter <= 'f':
			c = c<<4 | (letter - 'a' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

// isPlainByte reports whether c may stand in a path without an escape, by the
// custom of servers if not by RFC 3986. "%" may not: what it begins is undone
// once.
func isPlainByte(c byte) bool { return 0x21 <= c && c <= 0x7e && c != '%' }

// isDotSegment reports whether s begins with the segment "." or "..".
func isDotSegment(s string) bool {
	segment, _, _ := strings.Cut(s, "/")
	return segment == "." || segment == ".."
}

// PlainPath returns how clients write the path of a route: without dot and
// empty segments, and with those escapes only that must be. It is false for a
// path that no request is answered for.
func PlainPath(path string) (plain string, ok bool) {
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if c := path[i]; c == '%' || isPlainByte(c) {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return cleanPath(string(b))
}

// cleanPath returns what a server may take a path for that is not plain: the
// escapes undone that need not be, dot segments resolved, empty ones left out.
// It returns false for a path that nobody should take for anything.
func cleanPath(path string) (string, bool) {
	undone, ok := undoEscapes(path)
	if !ok {
		return "", false
	}
	var segments []string
	for segment := range strings.SplitSeq(undone, "/") {
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

// undoEscapes returns path with slashes for backslashes and without the escapes
// that need not be; the others are in upper case. It returns false if there is
// one of a null byte or a broken one.
func undoEscapes(path string) (string, bool) {
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			e, ok := unescape(path[i:])
			if !ok || e == 0 {
				return "", false
			}
			if !isPlainByte(e) {
				b = append(b, strings.ToUpper(path[i:i+3])...)
				i += 2
				continue
			}
			c, i = e, i+2
		}
		if c == '\\' {
			c = '/'
		}
		b = append(b, c)
	}
	return string(b), true
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
