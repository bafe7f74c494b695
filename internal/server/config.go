// Package server joins the parts of weir to its three long-lived processes:
// the keeper (weir serve), the controller and the router. It is the only
// package that knows them all.
package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
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
