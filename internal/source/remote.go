package source

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
)

// remote is a checked repository address.
type remote struct {
	url      string // what git is given: no user and password for http(s)
	shown    string // what a person may see: no credentials at all
	user     string // http(s) only
	password string
	scheme   string // http, https, ssh, git or file
	secrets  []string
}

// scpForm is ssh's user@host:path. The path must not begin with a slash-slash,
// or "https://…" would match.
var scpForm = regexp.MustCompile(`^(?:([A-Za-z0-9._][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^/\\:].*|/[^/].*)$`)

// parseRemote checks an address as a user typed it.
func parseRemote(raw string, allowLocal bool) (remote, error) {
	refuse := func(why string) (remote, error) {
		return remote{}, &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("git address %q is refused: %s", redactURL(raw), why),
			Hint: "use https://…, ssh://…, git://… or user@host:path",
		}
	}
	switch {
	case raw == "":
		return refuse("it is empty")
	case strings.HasPrefix(raw, "-"):
		return refuse("it begins with a dash")
	case strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refuse("it holds control characters")
	}
	if allowLocal && filepath.IsAbs(raw) {
		return remote{url: raw, shown: raw, scheme: "file"}, nil
	}
	if m := scpForm.FindStringSubmatch(raw); m != nil && !strings.Contains(raw, "://") {
		if strings.HasPrefix(m[3], "-") {
			return refuse("its path begins with a dash")
		}
		return remote{url: raw, shown: raw, scheme: "ssh"}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return refuse("it is not a URL")
	}
	r := remote{scheme: strings.ToLower(u.Scheme)}
	switch r.scheme {
	case "http", "https", "ssh", "git":
	case "file":
		if !allowLocal {
			return refuse("the server does not read its own files")
		}
	default:
		return refuse("scheme " + r.scheme + " is not supported")
	}
	if r.scheme != "file" && (u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-")) {
		return refuse("it has no valid host")
	}
	if strings.HasPrefix(strings.TrimLeft(u.Path, "/"), "-") {
		return refuse("its path begins with a dash")
	}
	if u.User != nil {
		if strings.HasPrefix(u.User.Username(), "-") {
			return refuse("its user begins with a dash")
		}
		r.takeCredentials(u)
	}
	u.Fragment = ""
	r.url = u.String()
	r.shown = redactURL(r.url)
	return r, nil
}

// takeCredentials moves user and password out of an http(s) URL; ssh keeps
// its user, for it is part of the address, but never a password.
func (r *remote) takeCredentials(u *url.URL) {
	user, raw := u.User, u.User.String()
	pass, _ := user.Password()
	switch r.scheme {
	case "http", "https":
		r.user, r.password = user.Username(), pass
		// A token is often given in the place of the user.
		r.secrets = append(r.secrets, r.user, raw)
		u.User = nil
	default:
		u.User = url.User(user.Username())
	}
	if pass != "" {
		r.secrets = append(r.secrets, pass, url.QueryEscape(pass), url.PathEscape(pass))
	}
	r.secrets = slices.DeleteFunc(r.secrets, func(s string) bool { return len(s) < 3 || s == "git" })
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
}

// scrub removes the credentials from a text.
func (r remote) scrub(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// redactURL removes everything secret from an address for showing it.
func redactURL(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Scheme != "" && u.Host != "" {
		if u.User != nil && u.Scheme != "ssh" {
			u.User = nil
		} else if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		u.RawQuery = ""
		return u.String()
	}
	if i := strings.Index(raw, "://"); i >= 0 {
		if at := strings.LastIndex(raw, "@"); at > i {
			return raw[:i+3] + raw[at+1:]
		}
	}
	return raw
}

// checkRef refuses what could be taken for an option or is no ref name at all.
func checkRef(ref string) error {
	why := ""
	switch {
	case strings.HasPrefix(ref, "-"):
		why = "it begins with a dash"
	case strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		why = "it holds blanks or control characters"
	case strings.ContainsAny(ref, ":*?[\\") || strings.Contains(ref, "..") || strings.Contains(ref, "@{"):
		why = "it is not the name of one branch, tag or commit"
	}
	if why == "" {
		return nil
	}
	return &platform.Error{
		Kind: platform.KindInvalid,
		Msg:  fmt.Sprintf("git ref %q is refused: %s", ref, why),
		Hint: "give a branch, a tag or a commit",
	}
}

// SplitRef cuts an address of the form URL#REF, as used for buildpacks, in
// two. ref is empty if there is none.
func SplitRef(address string) (url, ref string) {
	url, ref, _ = strings.Cut(address, "#")
	return url, ref
}

func (r remote) timedOut(limit time.Duration) *platform.Error {
	return &platform.Error{
		Kind: platform.KindUnavailable,
		Msg:  fmt.Sprintf("fetching %s took longer than %s", r.shown, limit),
		Hint: "try again, or push a local clone: weir push -p DIR",
	}
}

func (r remote) tooLarge(limit int64) *platform.Error {
	return &platform.Error{
		Kind: platform.KindTooLarge,
		Msg:  fmt.Sprintf("repository %s is larger than %d MB", r.shown, limit>>20),
		Hint: "push a local clone with a .cfignore instead: weir push -p DIR",
	}
}

func (r remote) noSuchRef(ref string, known []string) *platform.Error {
	e := &platform.Error{
		Kind: platform.KindNotFound,
		Msg:  fmt.Sprintf("%s has no branch, tag or commit %q", r.shown, ref),
	}
	if ref == "" {
		e.Msg = r.shown + " has no default branch"
		e.Hint = "name one: --ref main"
	}
	if len(known) > 0 {
		e.Hint = "it has " + strings.Join(known[:min(len(known), 8)], ", ")
	}
	return e
}
