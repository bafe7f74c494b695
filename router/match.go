package router

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxRegex is how long the regex of a match may be, in bytes.
const maxRegex = 256

// CheckMatch reports a condition that nobody can meet or understand. Whoever
// takes conditions from people asks it first: a table with one that the router
// does not understand is refused whole.
func CheckMatch(m Match) error {
	if err := checkMatch(m); err != nil {
		return err
	}
	if host := m.Exact + m.Prefix; strings.EqualFold(m.Header, "host") &&
		(host != strings.ToLower(host) || strings.Contains(host, ":") && !strings.HasPrefix(host, "[")) {
		return fmt.Errorf("a match of Host sees names in lower case and without port, so never %q", host)
	}
	return nil
}

// checkMatch is CheckMatch for tables, which may be older than a rule.
func checkMatch(m Match) error {
	of, how := 0, 0
	for _, v := range []string{m.Header, m.Cookie, m.CIDR} {
		if v != "" {
			of++
		}
	}
	for _, v := range []string{m.Exact, m.Prefix, m.Regex} {
		if v != "" {
			how++
		}
	}
	if of != 1 || how > 1 || m.CIDR != "" && how > 0 {
		return errors.New("a match names one of header, cookie and cidr, and of the first two at most one of exact, prefix and regex")
	}
	if name := m.Header + m.Cookie; name != "" && !isToken(name) {
		return fmt.Errorf("a match of %q, which is no name of a header or cookie", name)
	}
	if m.CIDR != "" {
		if _, err := network(m.CIDR); err != nil {
			return fmt.Errorf("a match of the cidr %q, which is no address or network such as 192.0.2.0/24", m.CIDR)
		}
	}
	if len(m.Regex) > maxRegex {
		return fmt.Errorf("a match with a regex of %d bytes, which has at most %d", len(m.Regex), maxRegex)
	}
	if _, err := regexp.Compile(m.Regex); err != nil {
		return fmt.Errorf("a match whose regex %q cannot be read: %w", m.Regex, err)
	}
	return nil
}
