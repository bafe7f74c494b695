package platform

import "strings"

// The longest that DNS allows, in bytes.
const (
	MaxHostLabel = 63
	MaxFQDN      = 253
)

// IsHost reports whether host consists of DNS labels, and "_" as Cloud Foundry
// allows. Dots separate labels: a host may stand for a deeper name. How long it
// may be is not its business.
func IsHost(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
