package router

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/router/wire"

	"weir/internal/platform"
)

// The options of a route. All values are text.
const (
	// OptionLoadBalancing chooses among the instances of a destination:
	// "round-robin", "least-connection" or "hash". Without it the one of two
	// random instances that has fewer requests in flight is taken.
	OptionLoadBalancing = "loadbalancing"
	// OptionHashHeader names the field that "hash" looks at; without it, or in
	// a request without the field, the client's address is hashed.
	OptionHashHeader = "hash_header"
	// OptionHashBalance is by how much an instance may have more requests in
	// flight than the average before "hash" takes the next one: 1.1 to 10, or
	// 0 for no limit, which is the default.
	OptionHashBalance = "hash_balance"

	// OptionTimeout is how long an instance may take to begin its answer:
	// "90s", or plain seconds; at most 15 minutes.
	OptionTimeout = "timeout"
	// OptionIdleTimeout is how long a stream or tunnel may be silent: "5m";
	// at most 24 hours.
	OptionIdleTimeout = "idle-timeout"
	// OptionMaxBody is how large the body of a request may be: "10M".
	OptionMaxBody = "max-body"

	// OptionHSTS makes answers over https say Strict-Transport-Security: "on"
	// (a year), or "SECONDS[; includeSubDomains][; preload]".
	OptionHSTS = "hsts"
	// OptionHTTPS set to "redirect" sends requests over http to https.
	OptionHTTPS = "https"
	// OptionCanonicalHost sends requests for other hosts of the route, of
	// which only a wildcard has several, to this one.
	OptionCanonicalHost = "canonical-host"
	// OptionCompress set to "gzip" compresses text answers for clients that
	// take it.
	OptionCompress = "compress"

	// OptionBasicAuth asks for a name and a password: "user:hash" and more of
	// them after blanks; hashes of bcrypt or SHA-crypt.
	OptionBasicAuth = "basic-auth"
	// OptionAllowIPs and OptionDenyIPs are addresses or networks, separated by
	// commas. Denied goes before allowed.
	OptionAllowIPs = "allow-ips"
	OptionDenyIPs  = "deny-ips"
	// OptionRateLimit is "100/s", "600/m" or "1000/h", with " burst=50" if not
	// as many as in a second may come at once.
	OptionRateLimit = "rate-limit"
	// OptionRateLimitBy says whose requests are counted together: "ip" (the
	// default), "route" or "header:NAME".
	OptionRateLimitBy = "rate-limit-by"

	// OptionErrorPage is the HTML shown for statuses from 500 that the router
	// answers by itself; OptionErrorPage with "-" and a status is for that
	// one. {{status}}, {{message}} and {{request_id}} are filled in.
	OptionErrorPage = "error-page"

	// OptionVersionHeader says what X-Route-Version does: "in" lets a request
	// choose a version by its label, "out" says in the answer which one it
	// was, "on" is both, "off" the default.
	OptionVersionHeader = "version-header"
	// OptionSticky keeps a user with one version: "cookie", "ip" or
	// "header:NAME" say how a user is told from others; "off" the default.
	OptionSticky = "sticky"
	// OptionStickySalt is "rotate" (the default: each rollout picks other
	// users first) or "fixed".
	OptionStickySalt = "sticky-salt"
	// OptionStickyMaxAge is how long the cookie lives: "30d" (the default), or
	// "session".
	OptionStickyMaxAge = "sticky-max-age"
	// OptionStickyCookie is its name, before which "__Host-" stands over
	// https; "weir-position" is the default.
	OptionStickyCookie = "sticky-cookie"
	// OptionStickySameSite is "lax" (the default), "strict" or "none".
	OptionStickySameSite = "sticky-same-site"

	// OptionSkew is for how long after its last share a version answers what
	// pages of its own ask for: "1h", at most 30 days.
	OptionSkew = "skew"
	// OptionAssetFallback set to "on" has another version asked for files with
	// a hash in their name that the one chosen does not know.
	OptionAssetFallback = "asset-fallback"

	// OptionWebSocketDrain says what becomes of WebSockets when their instance
	// leaves the route, and when the router is replaced: "stay" (the default:
	// until the drain is over), "close-gently" with over how long they are
	// told to close ("close-gently 60s"; 20 s without it), or "cut".
	OptionWebSocketDrain = "websocket-drain"

	// OptionStripPrefix set to "on" cuts the route's path off what the app
	// sees, and says so in X-Forwarded-Prefix.
	OptionStripPrefix = "strip-prefix"
	// OptionSlowStart is how long a new instance takes to get its full share:
	// "30s", at most an hour, "0s" for at once; 10 s without it.
	OptionSlowStart = "slow-start"
)

// The bounds of options.
const (
	maxResponseTimeout = 15 * time.Minute
	maxIdleTimeout     = 24 * time.Hour
	maxSlowStart       = time.Hour
	maxPage            = 64 << 10
	maxNetworks        = 256
	maxUsers           = 64
	maxStickyAge       = 400 * 24 * time.Hour
	maxOptionBytes     = 4096 // of a value that is not a page
)

// optionParsers set one option each. Their errors say what a value must be.
var optionParsers = map[string]func(r *rules, value string) error{
	OptionLoadBalancing: oneOf(map[string]func(*rules){
		"round-robin":      func(r *rules) { r.balance = balanceRoundRobin },
		"least-connection": func(r *rules) { r.balance = balanceLeast },
		"hash":             func(r *rules) { r.balance = balanceHash },
	}),
	OptionHashHeader: func(r *rules, v string) (err error) { r.hashHeader, err = fieldName(v); return err },
	OptionHashBalance: func(r *rules, v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || f != 0 && !(f >= 1.1 && f <= 10) {
			return errors.New("must be 0, or a number from 1.1 to 10")
		}
		r.hashBalance = f
		return nil
	},
	OptionTimeout: func(r *rules, v string) (err error) {
		r.limit.head, err = duration(v, time.Millisecond, maxResponseTimeout)
		return err
	},
	OptionWebSocketDrain: func(r *rules, v string) (err error) { r.farewell, err = parseFarewell(v); return err },
	OptionIdleTimeout: func(r *rules, v string) (err error) {
		r.limit.idle, err = duration(v, time.Millisecond, maxIdleTimeout)
		return err
	},
	OptionMaxBody: func(r *rules, v string) (err error) { r.limit.body, err = sizeInBytes(v); return err },
	OptionHSTS:    func(r *rules, v string) (err error) { r.hsts, err = parseHSTS(v); return err },
	OptionHTTPS:   oneOf(map[string]func(*rules){"redirect": func(r *rules) { r.toHTTPS = true }}),
	OptionCanonicalHost: func(r *rules, v string) error {
		host, ok := normalHost(v)
		for label := range strings.SplitSeq(host, ".") {
			ok = ok && label != "" && label == strings.Trim(label, "-")
		}
		if !ok || strings.ContainsAny(v, ":*") {
			return errors.New("must be a host name without port")
		}
		r.canonical = host
		return nil
	},
	OptionCompress:    oneOf(map[string]func(*rules){"gzip": func(r *rules) { r.gzip = true }}),
	OptionBasicAuth:   func(r *rules, v string) (err error) { r.auth, err = parseUsers(v); return err },
	OptionAllowIPs:    func(r *rules, v string) (err error) { r.allow, err = networks(v); return err },
	OptionDenyIPs:     func(r *rules, v string) (err error) { r.deny, err = networks(v); return err },
	OptionRateLimit:   parseRate,
	OptionRateLimitBy: parseRateBy,
	OptionVersionHeader: oneOf(map[string]func(*rules){
		"off": func(*rules) {},
		"in":  func(r *rules) { r.versionIn = true },
		"out": func(r *rules) { r.versionOut = true },
		"on":  func(r *rules) { r.versionIn, r.versionOut = true, true },
	}),
	OptionSticky: parseSticky,
	OptionStickySalt: oneOf(map[string]func(*rules){
		"rotate": func(r *rules) { r.sticky.fixed = false },
		"fixed":  func(r *rules) { r.sticky.fixed = true },
	}),
	OptionStickyMaxAge: parseStickyAge,
	OptionStickyCookie: func(r *rules, v string) error {
		if len(v) > 64 || !isToken(v) || strings.HasPrefix(strings.ToLower(v), "__") {
			return errors.New("must be the name of a cookie, of at most 64 letters, digits and dashes")
		}
		r.sticky.cookie = v
		return nil
	},
	OptionStickySameSite: oneOf(map[string]func(*rules){
		"lax":    func(r *rules) { r.sticky.sameSite = "Lax" },
		"strict": func(r *rules) { r.sticky.sameSite = "Strict" },
		"none":   func(r *rules) { r.sticky.sameSite = "None" },
	}),
	OptionSkew: func(r *rules, v string) error {
		d, err := duration(v, time.Second, maxSkew)
		r.skew.age = int64(d / time.Second)
		return err
	},
	OptionAssetFallback: oneOf(map[string]func(*rules){
		"off": func(*rules) {},
		"on":  func(r *rules) { r.skew.fallback = true },
	}),
	OptionStripPrefix: oneOf(map[string]func(*rules){
		"off": func(*rules) {},
		"on":  func(r *rules) { r.strip = true },
	}),
	OptionSlowStart: func(r *rules, v string) (err error) {
		r.slowStart, err = duration(v, 0, maxSlowStart)
		r.hasSlowStart = true
		return err
	},
}

// OptionNames returns the names of all options, in order; of the error pages
// only the one for all statuses.
func OptionNames() []string {
	return append(slices.Sorted(maps.Keys(optionParsers)), OptionErrorPage)
}

// CheckOptions reports the first option of a route, by name, that the router
// does not know or whose value it does not understand, as a *platform.Error
// of KindInvalid.
func CheckOptions(options map[string]string) error {
	_, err := parseOptions(options)
	if err == nil {
		return nil
	}
	return &platform.Error{Kind: platform.KindInvalid, Msg: err.Error(), Hint: "weir update-route --help lists the options and what they take"}
}

// parseOptions compiles options; nil if there are none.
func parseOptions(options map[string]string) (*rules, error) {
	if len(options) == 0 {
		return nil, nil
	}
	r := newRules()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		value := options[name]
		if name == OptionErrorPage || strings.HasPrefix(name, OptionErrorPage+"-") {
			if err := r.addPage(name, value); err != nil {
				return nil, fmt.Errorf("option %q %w", name, err)
			}
			continue
		}
		parse := optionParsers[name]
		if parse == nil {
			return nil, fmt.Errorf("a route has no option %q", name)
		}
		if len(value) > maxOptionBytes {
			return nil, fmt.Errorf("option %q is longer than %d bytes", name, maxOptionBytes)
		}
		if err := parse(r, value); errors.Is(err, errSecretValue) {
			return nil, fmt.Errorf("option %q %w", name, err)
		} else if err != nil {
			return nil, fmt.Errorf("option %q %w, not %q", name, err, value)
		}
	}
	return r, r.check()
}

// check reports options that contradict each other.
func (r *rules) check() error {
	switch {
	case r.hashHeader != "" && r.balance != balanceHash, r.hashBalance != 0 && r.balance != balanceHash:
		return fmt.Errorf("options %q and %q need %q to be %q", OptionHashHeader, OptionHashBalance, OptionLoadBalancing, "hash")
	case r.rate.by != "" && r.rate.every == 0:
		return fmt.Errorf("option %q needs %q", OptionRateLimitBy, OptionRateLimit)
	}
	return nil
}

// oneOf parses a value that is one of a few words.
func oneOf(words map[string]func(*rules)) func(*rules, string) error {
	return func(r *rules, v string) error {
		set := words[v]
		if set == nil {
			return errors.New("must be " + strings.Join(slices.Sorted(maps.Keys(words)), " or "))
		}
		set(r)
		return nil
	}
}

// duration parses "90s" or plain seconds.
func duration(v string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if n, nerr := strconv.ParseInt(v, 10, 32); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("must be a duration from %s to %s, like \"90s\"", least, strings.TrimSuffix(strings.TrimSuffix(most.String(), "0s"), "0m"))
	}
	return d, nil
}

func sizeInBytes(v string) (int64, error) {
	size, err := platform.ParseBytes(v)
	if err != nil || size <= 0 {
		return 0, errors.New("must be a size, like \"10M\"")
	}
	return size, nil
}

// fieldName returns v in lower case if it can name a field.
func fieldName(v string) (string, error) {
	if v == "" || len(v) > 64 || !isToken(v) {
		return "", errors.New("must be the name of a header field")
	}
	return strings.ToLower(v), nil
}

func isToken(v string) bool { return wire.IsToken(v) }

// networks parses addresses and networks separated by commas or blanks.
func networks(v string) (list []netip.Prefix, err error) {
	for _, part := range strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' }) {
		p, err := network(part)
		if err != nil {
			return nil, err
		}
		if list = append(list, p); len(list) > maxNetworks {
			return nil, fmt.Errorf("must be at most %d networks", maxNetworks)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("must be addresses or networks, like \"192.0.2.0/24\"")
	}
	return list, nil
}

func network(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	if err != nil || p.Addr().Is4In6() {
		return p, errors.New("must be addresses or networks, like \"192.0.2.0/24\"")
	}
	return p.Masked(), nil
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func parseHSTS(v string) (string, error) {
	if v == "on" {
		return "max-age=31536000", nil
	}
	bad := errors.New("must be \"on\", or seconds, like \"31536000; includeSubDomains; preload\"")
	parts := strings.Split(v, ";")
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(parts[0]), "max-age="), 10, 32)
	if err != nil {
		return "", bad
	}
	out := "max-age=" + strconv.FormatUint(n, 10)
	for _, p := range parts[1:] {
		switch p = strings.TrimSpace(p); strings.ToLower(p) {
		case "includesubdomains":
			out += "; includeSubDomains"
		case "preload":
			out += "; preload"
		default:
			return "", bad
		}
	}
	return out, nil
}

func parseSticky(r *rules, v string) (err error) {
	by, name, _ := strings.Cut(v, ":")
	switch {
	case v == "off":
		r.sticky.by = stickyOff
	case v == "cookie":
		r.sticky.by = stickyCookie
	case v == "ip":
		r.sticky.by = stickyIP
	case by == "header" && name != "":
		r.sticky.by = stickyHeader
		r.sticky.header, err = fieldName(name)
	default:
		return errors.New("must be one of cookie, header:NAME, ip, off")
	}
	return err
}

func parseStickyAge(r *rules, v string) error {
	if v == "session" {
		r.sticky.maxAge = 0
		return nil
	}
	bad := errors.New("must be \"session\" or a time, like \"30d\" or \"12h\"")
	if days, ok := strings.CutSuffix(v, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 || time.Duration(n)*24*time.Hour > maxStickyAge {
			return bad
		}
		r.sticky.maxAge = time.Duration(n) * 24 * time.Hour
		return nil
	}
	d, err := duration(v, time.Second, maxStickyAge)
	if err != nil {
		return bad
	}
	r.sticky.maxAge = d
	return nil
}
