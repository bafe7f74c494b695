package shadow

import "strings"

// maxEndpoints bounds the endpoints of a report; those that come later are
// counted under otherEndpoints.
const (
	maxEndpoints   = 500
	otherEndpoints = "(other endpoints)"
)

// Template names the endpoint of a request: its method and its path with
// numbers, UUIDs and long hexadecimal words replaced by {id}.
func Template(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if isIdentifier(p) {
			parts[i] = "{id}"
		}
	}
	return method + " " + strings.Join(parts, "/")
}

// isIdentifier reports whether a segment names one thing among many: digits
// only, or at least eight hexadecimal characters and dashes with a digit.
func isIdentifier(s string) bool {
	digits, others := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == '-':
			others++
		default:
			return false
		}
	}
	return digits > 0 && (others == 0 || len(s) >= 8)
}
