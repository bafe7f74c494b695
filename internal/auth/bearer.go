package auth

import (
	"net/http"
	"strings"
)

// Bearer returns the access token that a request's header carries, unverified,
// and whether there is one: "Authorization: bearer TOKEN", the scheme in any
// case (RFC 6750).
func Bearer(h http.Header) (token string, ok bool) {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if token == "" || !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	return token, true
}
