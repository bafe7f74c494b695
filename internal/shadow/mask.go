package shadow

import (
	"regexp"
	"strings"
)

// masked stands for a value that nobody should read in a report.
const masked = "(masked)"

// secretWords in a field's name make its values secret.
var secretWords = []string{
	"password", "passwd", "secret", "token", "authorization", "api_key", "apikey", "api-key", "credential",
	"session", "cookie", "private", "cvc", "cvv", "iban", "card",
}

// secretValues look like secrets wherever they stand: JSON Web Tokens, PEM
// blocks, long runs of hexadecimal or base64.
var secretValues = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+|-----BEGIN |\b[0-9a-fA-F]{32,}\b|[A-Za-z0-9+/_-]{40,}`)

// mask returns value as it may be shown, cut to limit bytes.
func mask(field, value string, limit int) string {
	lower := strings.ToLower(field)
	for _, w := range secretWords {
		if strings.Contains(lower, w) {
			return masked
		}
	}
	value = secretValues.ReplaceAllString(value, masked)
	if len(value) > limit {
		value = strings.ToValidUTF8(value[:limit], "") + "…"
	}
	return value
}
