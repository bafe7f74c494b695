// Package server joins the parts of weir to its three long-lived processes:
// the keeper (weir serve), the controller and the router. It is the only
// package that knows them all.
package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform"
)

// Config is everything an operator may set. Each setting is a flag of
// weir serve and a WEIR_… variable; Settings lists them with their defaults.
type Config struct {
	// DataDir holds everything weir keeps. One server runs on it at a time.
	DataDir string
	// Domain is the shared domain of the first start: apps are reached at
	// <app>.<domain>. Later it is a row like any other.
	Domain string
	// APIAddr and HTTPAddr are where the API and the apps listen. Port 0
	// takes a free one; DATA/server.json tells which.
	APIAddr  string
	HTTPAddr string
	// HTTPSAddr is where they are reached over TLS. Empty: nowhere.
	HTTPSAddr string
	// HTTP3 serves HTTP/3 too, at the same address over UDP.
	HTTP3 bool
	// TLSCerts and TLSKeys are the operator's certificates: files, or
	// directories of them.
	TLSCerts, TLSKeys []string
	// ACMECA is the directory URL of the authority certificates are got
	// from, ACMEEmail where it writes to, ACMEDNS a file that says how names
	// are proved by DNS. All empty: none are got.
	ACMECA, ACMEEmail, ACMEDNS string
	// AccessLog is a file that gets a line for each request, besides the
	// logs of the apps. Empty: none.
	AccessLog string
	// RedactIPs keeps addresses of clients out of both, RedactQueries what
	// follows the "?" of a target.
	RedactIPs, RedactQueries bool
	// ExternalURL is what clients are told to call the API by. Empty means
	// whatever host and scheme they came with.
	ExternalURL string
	// TrustedProxies may set X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// ProxyProtocol are those that begin each connection with a PROXY header.
	ProxyProtocol []netip.Prefix
	// UID is who the controller and the router run as when weir serve is
	// root; instances get uids from UID+1 on.
	UID int
	// StagingTimeout bounds one build.
	StagingTimeout time.Duration
	// DrainTimeout is how long an instance that left the routes may finish
	// its requests.
	DrainTimeout time.Duration
	// UploadLimit bounds an upload, packed and unpacked, in bytes.
	UploadLimit int64
	// BuildCache holds what buildpacks prepare once for the caches of all apps.
	// Empty means DATA/build-cache.
	BuildCache string
	// AdminPassword is used at the first start; empty means a random one.
	// It is never a flag, and not part of what a child process is told.
	AdminPassword string `json:"-"`
	// LogFormat is "text" or "json".
	LogFormat string

	// Exe is a path of weir's binary that builds and instances may run. Serve
	// finds it.
	Exe string
}

// Setting describes one setting for the help and for --print-config.
type Setting struct {
	Flag, Env, Default, Usage string
	set                       func(*Config, string) error
	get                       func(*Config) string
}

// IsSwitch reports whether the flag needs no value: it is enough to name it.
func (s Setting) IsSwitch() bool {
	return slices.Contains([]string{"http3", "redact-ips", "redact-queries"}, s.Flag)
}

// Join adds a value to those a flag was given before.
func (s Setting) Join(before, v string) string {
	if before != "" && (s.Flag == "tls-cert" || s.Flag == "tls-key") {
		return before + "," + v
	}
	return v
}

// Settings lists all settings in the order of the help.
func Settings() []Setting {
	return []Setting{
		{
			"data", "WEIR_DATA", "", "`directory` for everything weir keeps (default ~/.weir/server, /var/lib/weir for root)",
			func(c *Config, v string) error { c.DataDir = v; return nil },
			func(c *Config) string { return c.DataDir },
		},
		{
			"domain", "WEIR_DOMAIN", "apps.localhost", "`domain` under which apps are reached",
			func(c *Config, v string) (err error) { c.Domain, err = domainName(v); return err },
			func(c *Config) string { return c.Domain },
		},
		{
			"api", "WEIR_API", "127.0.0.1:8181", "`address` of the API",
			func(c *Config, v string) error { c.APIAddr = v; return checkAddr(v) },
			func(c *Config) string { return c.APIAddr },
		},
		{
			"http", "WEIR_HTTP", "127.0.0.1:8080", "`address` where apps are reached",
			func(c *Config, v string) error { c.HTTPAddr = v; return checkAddr(v) },
			func(c *Config) string { return c.HTTPAddr },
		},
		{
			"https", "WEIR_HTTPS", "", "`address` where apps are reached over TLS (default: nowhere)",
			func(c *Config, v string) error { c.HTTPSAddr = v; return checkAddr(v) },
			func(c *Config) string { return c.HTTPSAddr },
		},
		{
			"http3", "WEIR_HTTP3", "false", "serve HTTP/3 at the address of --https too, over UDP",
			func(c *Config, v string) (err error) { c.HTTP3, err = strconv.ParseBool(v); return err },
			func(c *Config) string { return strconv.FormatBool(c.HTTP3) },
		},
		{
			"tls-cert", "WEIR_TLS_CERT", "", "certificate `files` (PEM, with chain), or directories of X.crt and X.key",
			func(c *Config, v string) (err error) { c.TLSCerts, err = absPaths(v); return err },
			func(c *Config) string { return strings.Join(c.TLSCerts, ",") },
		},
		{
			"tls-key", "WEIR_TLS_KEY", "", "key `files` of the certificates, in the same order",
			func(c *Config, v string) (err error) { c.TLSKeys, err = absPaths(v); return err },
			func(c *Config) string { return strings.Join(c.TLSKeys, ",") },
		},
		{
			"acme-ca", "WEIR_ACME_CA", "", "get certificates from this ACME authority: letsencrypt, letsencrypt-staging, or a directory `URL`",
			func(c *Config, v string) (err error) { c.ACMECA, err = acmeDirectory(v); return err },
			func(c *Config) string { return c.ACMECA },
		},
		{
			"acme-email", "WEIR_ACME_EMAIL", "", "get certificates, from Let's Encrypt unless --acme-ca says otherwise; `address` it may write to",
			func(c *Config, v string) (err error) { c.ACMEEmail, err = mailAddress(v); return err },
			func(c *Config) string { return c.ACMEEmail },
		},
		{
			"acme-dns", "WEIR_ACME_DNS", "", "get certificates, wildcards too, by DNS; `file` that says how and holds the secret",
			func(c *Config, v string) (err error) { c.ACMEDNS, err = filepath.Abs(v); return err },
			func(c *Config) string { return c.ACMEDNS },
		},
		{
			"access-log", "WEIR_ACCESS_LOG", "", "`file` that gets a line for each request, besides the logs of the apps",
			func(c *Config, v string) (err error) { c.AccessLog, err = filepath.Abs(v); return err },
			func(c *Config) string { return c.AccessLog },
		},
		{
			"redact-ips", "WEIR_REDACT_IPS", "false", "keep addresses of clients out of access logs",
			func(c *Config, v string) (err error) { c.RedactIPs, err = strconv.ParseBool(v); return err },
			func(c *Config) string { return strconv.FormatBool(c.RedactIPs) },
		},
		{
			"redact-queries", "WEIR_REDACT_QUERIES", "false", "keep queries of targets and referers out of access logs",
			func(c *Config, v string) (err error) { c.RedactQueries, err = strconv.ParseBool(v); return err },
			func(c *Config) string { return strconv.FormatBool(c.RedactQueries) },
		},
		{
			"external-url", "WEIR_EXTERNAL_URL", "", "`URL` by which clients call the API (default: the one they used)",
			func(c *Config, v string) (err error) { c.ExternalURL, err = httpURL(v); return err },
			func(c *Config) string { return c.ExternalURL },
		},
		{
			"trusted-proxies", "WEIR_TRUSTED_PROXIES", "", "comma-separated `CIDRs` whose X-Forwarded-For is believed",
			func(c *Config, v string) (err error) { c.TrustedProxies, err = parsePrefixes(v); return err },
			func(c *Config) string { return joinPrefixes(c.TrustedProxies) },
		},
		{
			"proxy-protocol", "WEIR_PROXY_PROTOCOL", "", "comma-separated `CIDRs` whose connections begin with a PROXY header",
			func(c *Config, v string) (err error) { c.ProxyProtocol, err = parsePrefixes(v); return err },
			func(c *Config) string { return joinPrefixes(c.ProxyProtocol) },
		},
		{
			"uid", "WEIR_UID", "199999", "as root: `uid` of the unprivileged processes; instances get the ones above it",
			func(c *Config, v string) (err error) { c.UID, err = ordinaryUID(v); return err },
			func(c *Config) string { return strconv.Itoa(c.UID) },
		},
		{
			"staging-timeout", "WEIR_STAGING_TIMEOUT", "15m", "`duration` after which a build is stopped",
			func(c *Config, v string) (err error) { c.StagingTimeout, err = positive(v); return err },
			func(c *Config) string { return c.StagingTimeout.String() },
		},
		{
			"drain-timeout", "WEIR_DRAIN_TIMEOUT", "30s", "`duration` an instance gets to finish its requests",
			func(c *Config, v string) (err error) { c.DrainTimeout, err = positive(v); return err },
			func(c *Config) string { return c.DrainTimeout.String() },
		},
		{
			"upload-limit", "WEIR_UPLOAD_LIMIT", "2G", "largest upload, packed or unpacked (`size`)",
			func(c *Config, v string) (err error) { c.UploadLimit, err = parseSize(v); return err },
			func(c *Config) string { return platform.FormatBytes(c.UploadLimit) },
		},
		{
			"build-cache", "WEIR_BUILD_CACHE", "", "`directory` for what buildpacks prepare once for all apps (default DATA/build-cache)",
			func(c *Config, v string) (err error) { c.BuildCache, err = filepath.Abs(v); return err },
			func(c *Config) string { return c.BuildCache },
		},
		{
			"log-format", "WEIR_LOG_FORMAT", "text", "`format` of weir's own log: text or json",
			func(c *Config, v string) error { c.LogFormat = v; return oneOf(v, "text", "json") },
			func(c *Config) string { return c.LogFormat },
		},
	}
}

// NewConfig returns the configuration that flags and environment give; a flag
// goes before a variable, which goes before the default. flags holds only
// those that were given.
func NewConfig(flags map[string]string, env func(string) string) (Config, error) {
	var c Config
	for _, s := range Settings() {
		v, source := s.Default, "the default"
		if e := env(s.Env); e != "" {
			v, source = e, s.Env
		}
		if f, ok := flags[s.Flag]; ok {
			v, source = f, "--"+s.Flag
		}
		if v == "" {
			continue
		}
		if err := s.set(&c, v); err != nil {
			return Config{}, fmt.Errorf("%s: %q is not usable: %w", source, v, err)
		}
	}
	c.AdminPassword = env("WEIR_ADMIN_PASSWORD")
	if err := c.checkTLS(); err != nil {
		return Config{}, err
	}
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir(env)
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return Config{}, fmt.Errorf("finding the data directory: %w", err)
	}
	c.DataDir = dir
	if c.BuildCache == "" {
		c.BuildCache = filepath.Join(dir, "build-cache")
	}
	return c, nil
}

// DefaultDataDir is where a server keeps its data when nobody says otherwise.
func DefaultDataDir(env func(string) string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/weir"
	}
	return filepath.Join(env("HOME"), ".weir", "server")
}

// Print renders the configuration, one setting a line.
func (c Config) Print() string {
	var b strings.Builder
	for _, s := range Settings() {
		fmt.Fprintf(&b, "%-18s %-24s %s\n", s.Flag, s.Env, s.get(&c))
	}
	return b.String()
}

// configEnv hands a child process the configuration of its keeper.
const configEnv = "WEIR_SERVE_CONFIG"

func (c Config) marshal() string {
	b, _ := json.Marshal(c) // plain fields always marshal
	return string(b)
}

// ConfigFromKeeper returns the configuration a child process was started with.
func ConfigFromKeeper() (Config, error) {
	var c Config
	v, ok := os.LookupEnv(configEnv)
	if !ok {
		return c, errors.New("this command is started by weir serve, not by hand")
	}
	if err := json.Unmarshal([]byte(v), &c); err != nil {
		return c, fmt.Errorf("reading the keeper's configuration: %w", err)
	}
	return c, nil
}

func checkAddr(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q is not a number up to 65535", port)
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		return fmt.Errorf("%q is not an IP address", host)
	}
	return nil
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

func oneOf(v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("one of %s is needed", strings.Join(allowed, ", "))
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
