package server

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform"
)

// Settings lists all settings in the order of the help.
func Settings() []Setting {
	return []Setting{
		of("data", "", text(anything), "`directory` for everything weir keeps (default ~/.weir/server, /var/lib/weir for root)",
			func(c *Config) *string { return &c.DataDir }),
		of("domain", "apps.localhost", text(domainName), "`domain` under which apps are reached",
			func(c *Config) *string { return &c.Domain }),
		of("api", "127.0.0.1:8181", text(addr), "`address` of the API",
			func(c *Config) *string { return &c.APIAddr }),
		of("http", "127.0.0.1:8080", text(addr), "`address` where apps are reached",
			func(c *Config) *string { return &c.HTTPAddr }),
		of("https", "", text(addr), "`address` where apps are reached over TLS (default: nowhere)",
			func(c *Config) *string { return &c.HTTPSAddr }),
		of("http3", "false", onOff, "serve HTTP/3 at the address of --https too, over UDP",
			func(c *Config) *bool { return &c.HTTP3 }),
		of("tls-cert", "", files, "certificate `files` (PEM, with chain), or directories of X.crt and X.key",
			func(c *Config) *[]string { return &c.TLSCerts }),
		of("tls-key", "", files, "key `files` of the certificates, in the same order",
			func(c *Config) *[]string { return &c.TLSKeys }),
		of("acme-ca", "", text(acmeDirectory), "get certificates from this ACME authority: letsencrypt, letsencrypt-staging, or a directory `URL`",
			func(c *Config) *string { return &c.ACMECA }),
		of("acme-email", "", text(mailAddress), "get certificates, from Let's Encrypt unless --acme-ca says otherwise; `address` it may write to",
			func(c *Config) *string { return &c.ACMEEmail }),
		of("acme-dns", "", text(filepath.Abs), "get certificates, wildcards too, by DNS; `file` that says how and holds the secret",
			func(c *Config) *string { return &c.ACMEDNS }),
		of("access-log", "", text(filepath.Abs), "`file` that gets a line for each request, besides the logs of the apps",
			func(c *Config) *string { return &c.AccessLog }),
		of("redact-ips", "false", onOff, "keep addresses of clients out of access logs",
			func(c *Config) *bool { return &c.RedactIPs }),
		of("redact-queries", "false", onOff, "keep queries of targets and referers out of access logs",
			func(c *Config) *bool { return &c.RedactQueries }),
		of("external-url", "", text(httpURL), "`URL` by which clients call the API (default: the one they used)",
			func(c *Config) *string { return &c.ExternalURL }),
		of("trusted-proxies", "", prefixes, "comma-separated `CIDRs` whose X-Forwarded-For is believed",
			func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
		of("proxy-protocol", "", prefixes, "comma-separated `CIDRs` whose connections begin with a PROXY header",
			func(c *Config) *[]netip.Prefix { return &c.ProxyProtocol }),
		of("uid", "199999", uid, "as root: `uid` of the unprivileged processes; instances get the ones above it",
			func(c *Config) *int { return &c.UID }),
		of("staging-timeout", "15m", duration, "`duration` after which a build is stopped",
			func(c *Config) *time.Duration { return &c.StagingTimeout }),
		of("drain-timeout", "30s", duration, "`duration` an instance gets to finish its requests",
			func(c *Config) *time.Duration { return &c.DrainTimeout }),
		of("upload-limit", "2G", size, "largest upload, packed or unpacked (`size`)",
			func(c *Config) *int64 { return &c.UploadLimit }),
		of("build-cache", "", text(filepath.Abs), "`directory` for what buildpacks prepare once for all apps (default DATA/build-cache)",
			func(c *Config) *string { return &c.BuildCache }),
		of("log-format", "text", text(oneOf("text", "json")), "`format` of weir's own log: text or json",
			func(c *Config) *string { return &c.LogFormat }),
	}
}

// Setting describes one setting for the help and for --print-config.
type Setting struct {
	Flag, Env, Default, Usage string
	// IsSwitch says that the flag needs no value: it is enough to name it.
	IsSwitch bool
	isList   bool
	set      func(*Config, string) error
	get      func(*Config) string
}

// Join adds a value to those a flag was given before.
func (s Setting) Join(before, v string) string {
	if before != "" && s.isList {
		return before + "," + v
	}
	return v
}

// kind is how the values of some settings are read and shown.
type kind[T any] struct {
	parse            func(string) (T, error)
	show             func(T) string
	isSwitch, isList bool
}

// of makes the setting of a field.
func of[T any](flag, value string, k kind[T], usage string, field func(*Config) *T) Setting {
	return Setting{
		Flag: flag, Env: "WEIR_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")), Default: value, Usage: usage,
		IsSwitch: k.isSwitch, isList: k.isList,
		set: func(c *Config, v string) (err error) { *field(c), err = k.parse(v); return err },
		get: func(c *Config) string { return k.show(*field(c)) },
	}
}

var (
	onOff    = kind[bool]{parse: strconv.ParseBool, show: strconv.FormatBool, isSwitch: true}
	files    = kind[[]string]{parse: absPaths, show: func(l []string) string { return strings.Join(l, ",") }, isList: true}
	prefixes = kind[[]netip.Prefix]{parse: parsePrefixes, show: joinPrefixes}
	uid      = kind[int]{parse: ordinaryUID, show: strconv.Itoa}
	duration = kind[time.Duration]{parse: positive, show: time.Duration.String}
	size     = kind[int64]{parse: parseSize, show: platform.FormatBytes}
)

// text is a kind of which parse is the rule.
func text(parse func(string) (string, error)) kind[string] {
	return kind[string]{parse: parse, show: func(v string) string { return v }}
}

func anything(v string) (string, error) { return v, nil }

func addr(v string) (string, error) {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("port %q is not a number up to 65535", port)
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%q is not an IP address", host)
	}
	return v, nil
}

func parsePrefixes(v string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for s := range strings.SplitSeq(v, ",") {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, errors.New("networks or addresses are needed, with commas, like 192.0.2.0/24")
		}
		out = append(out, p)
	}
	return out, nil
}

func joinPrefixes(ps []netip.Prefix) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

func positive(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, errors.New("a duration above zero is needed, such as 30s")
	}
	return d, nil
}

func oneOf(allowed ...string) func(string) (string, error) {
	return func(v string) (string, error) {
		if !slices.Contains(allowed, v) {
			return "", fmt.Errorf("one of %s is needed", strings.Join(allowed, ", "))
		}
		return v, nil
	}
}

// parseSize reads a size of at least a byte; without a unit it is in bytes.
func parseSize(v string) (int64, error) {
	if _, err := strconv.ParseUint(v, 10, 64); err == nil {
		v += "B"
	}
	n, err := platform.ParseBytes(v)
	if err != nil || n <= 0 {
		return 0, errors.New("a size is needed, such as 512M or 2G")
	}
	return n, nil
}

func domainName(v string) (string, error) {
	if !platform.IsHost(v) || len(v) > platform.MaxFQDN {
		return "", errors.New("a domain name is needed, such as apps.example.com")
	}
	return strings.ToLower(v), nil
}

// httpURL reads the URL of an API, and takes the slash off its end.
func httpURL(v string) (string, error) {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("a URL is needed, such as https://api.example.com")
	}
	return strings.TrimSuffix(v, "/"), nil
}

// instanceUIDs is how many uids instances share, those above Config.UID.
const instanceUIDs = 65536

// ordinaryUID reads a uid that is not root's and leaves room for those of
// instances above it.
func ordinaryUID(v string) (int, error) {
	const most = math.MaxInt32 - instanceUIDs
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("a number from 1 to %d is needed", most)
	}
	return n, nil
}
