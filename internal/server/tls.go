package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/keeper"
	"weir/internal/platform"
	"weir/router"
	"weir/router/certs"
)

// certsDir is where certificates that were got are kept, and copies of given
// ones.
func certsDir(cfg Config) string { return filepath.Join(cfg.DataDir, "certs") }

// usesACME reports whether certificates are got from an authority.
func (c *Config) usesACME() bool { return c.ACMECA != "" || c.ACMEEmail != "" || c.ACMEDNS != "" }

func (c *Config) checkTLS() error {
	if c.HTTPSAddr == "" && (len(c.TLSCerts) > 0 || c.usesACME()) {
		return errors.New("certificates are of use only with --https")
	}
	if c.HTTPSAddr == "" && c.HTTP3 {
		return errors.New("--http3 is of use only with --https")
	}
	if len(c.TLSKeys) > 0 && len(c.TLSKeys) != len(c.TLSCerts) {
		return fmt.Errorf("there are %d of --tls-cert, but %d of --tls-key", len(c.TLSCerts), len(c.TLSKeys))
	}
	return nil
}

func absPaths(v string) ([]string, error) {
	var out []string
	for p := range strings.SplitSeq(v, ",") {
		abs, err := filepath.Abs(strings.TrimSpace(p))
		if err != nil {
			return nil, err
		}
		out = append(out, abs)
	}
	return out, nil
}

func acmeDirectory(v string) (string, error) {
	switch v {
	case "letsencrypt":
		return "https://acme-v02.api.letsencrypt.org/directory", nil
	case "letsencrypt-staging":
		return "https://acme-staging-v02.api.letsencrypt.org/directory", nil
	}
	u, err := url.Parse(v)
	if err == nil && (u.Scheme != "https" || u.Host == "") {
		err = errors.New("an https:// URL is needed, or letsencrypt")
	}
	return v, err
}

func mailAddress(v string) (string, error) {
	a, err := mail.ParseAddress(v)
	if err != nil {
		return "", err
	}
	return a.Address, nil
}

// lent are copies of the operator's certificate files, made for the router:
// it may not read root's, and whatever becomes of the files, a router that
// starts finds some that can be used.
type lent struct {
	from   [][]string // sources, in the order of to
	to     string     // directory of the copies
	uid    int        // who owns them; -1: we do
	logger *slog.Logger
}

// lendCertificates copies what the router has to read, and points cfg at the
// copies.
func lendCertificates(cfg *Config, logger *slog.Logger) (*lent, error) {
	if len(cfg.TLSCerts) == 0 && cfg.ACMEDNS == "" {
		return nil, nil
	}
	l := &lent{to: filepath.Join(certsDir(*cfg), "given"), uid: -1, logger: logger, from: [][]string{cfg.TLSCerts, cfg.TLSKeys, {cfg.ACMEDNS}}}
	if os.Geteuid() == 0 {
		l.uid = cfg.UID
	}
	if err := l.take(); err != nil {
		return nil, &platform.Error{Kind: platform.KindInvalid, Msg: "the certificates cannot be used: " + err.Error(), Hint: "see --tls-cert, --tls-key and --acme-dns"}
	}
	if len(cfg.TLSCerts) > 0 {
		cfg.TLSCerts, cfg.TLSKeys = []string{l.to}, nil
	}
	if cfg.ACMEDNS != "" {
		cfg.ACMEDNS = filepath.Join(l.to, dnsFile)
	}
	return l, nil
}

// take brings the copies up to date, if all of the files can be used. What is
// wrong is said under the names the operator knows.
func (l *lent) take() error {
	pairs, err := certs.FindPairs(l.from[0], l.from[1])
	if err != nil {
		return err
	}
	if err := certs.Check(pairs); err != nil {
		return err
	}
	dns := l.from[2][0]
	if dns != "" {
		if _, err := certs.ReadDNS(dns); err != nil {
			return err
		}
	}
	return l.copy(pairs, dns)
}

const dnsFile = "dns.json"

// copy makes the copies those of pairs and of dns.
func (l *lent) copy(pairs []certs.Pair, dns string) (err error) {
	if err := os.MkdirAll(l.to, 0o700); err != nil {
		return err
	}
	if err := os.Chown(l.to, l.uid, l.uid); err != nil {
		return err
	}
	var names []string
	put := func(from, name string) error {
		names = append(names, name)
		return l.copyFile(from, filepath.Join(l.to, name))
	}
	if dns != "" {
		if err := put(dns, dnsFile); err != nil {
			return err
		}
	}
	for i, p := range pairs {
		base := fmt.Sprintf("%04d", i)
		if p.Cert == p.Key {
			err = put(p.Cert, base+".pem")
		} else if err = put(p.Key, base+".key"); err == nil {
			err = put(p.Cert, base+".crt")
		}
		if err != nil {
			return err
		}
	}
	return l.removeOthers(names)
}

func (l *lent) copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(to); err == nil && slices.Equal(have, b) {
		return nil
	}
	tmp := to + ".tmp" + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	if err := os.Chown(tmp, l.uid, l.uid); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

func (l *lent) removeOthers(names []string) error {
	entries, err := os.ReadDir(l.to)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			if err := os.Remove(filepath.Join(l.to, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// follow keeps the copies up to date until ctx ends. Nil has none.
func (l *lent) follow(ctx context.Context) error {
	if l == nil {
		return nil
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var said string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := l.take()
			if err == nil {
				said = ""
			} else if said != err.Error() {
				said = err.Error()
				l.logger.Warn("changed certificates cannot be used, the old ones are", "err", err)
			}
		}
	}
}

// newCerts returns what finds the router's certificates; nil if it does not
// listen for TLS. serves says which route a host has.
func newCerts(cfg Config, in *keeper.Inherited, logger *slog.Logger, serves func(host string) (pattern string, ok bool)) (*certs.Manager, error) {
	secure := in.Listeners("https")
	if len(secure) == 0 {
		return nil, nil
	}
	c := certs.Config{Dir: certsDir(cfg), Logger: logger, SelfSigned: []string{cfg.Domain, "*." + cfg.Domain}}
	if len(cfg.TLSCerts) > 0 {
		c.Given = func() ([]certs.Pair, error) { return certs.FindPairs(cfg.TLSCerts, cfg.TLSKeys) }
	}
	if cfg.usesACME() {
		acme := &certs.ACME{Directory: cfg.ACMECA, Email: cfg.ACMEEmail, TLSAddr: secure[0].Addr()}
		if plain := in.Listeners("http"); len(plain) > 0 {
			acme.HTTPAddr = plain[0].Addr()
		}
		if cfg.ACMEDNS != "" {
			var err error
			if acme.DNS, err = certs.ReadDNS(cfg.ACMEDNS); err != nil {
				return nil, unusable(err)
			}
		}
		acme.Subject = subjects(cfg, serves)
		c.ACME = acme
	}
	m, err := certs.New(c)
	if err != nil {
		return nil, unusable(err)
	}
	return m, nil
}

func unusable(err error) error {
	return &platform.Error{
		Kind: platform.KindInvalid, Msg: err.Error(),
		Hint: "see --tls-cert, --tls-key and --acme-dns; the router must be able to read the files",
	}
}

// subjects says which certificate a host needs, if it is served: by DNS one
// for all hosts of a wildcard route, and of the shared domain, else its own.
func subjects(cfg Config, serves func(string) (string, bool)) func(string) (string, bool) {
	return func(host string) (string, bool) {
		pattern, ok := serves(host)
		if !ok {
			return "", false
		}
		if cfg.ACMEDNS == "" {
			return host, pattern == host // a wildcard would let anybody have any number got
		}
		if _, parent, _ := strings.Cut(host, "."); parent == cfg.Domain {
			return "*." + parent, true
		}
		if _, parent, _ := strings.Cut(host, "."); pattern != host && pattern != "*."+parent {
			return "", false // deeper than a certificate's wildcard reaches
		}
		return pattern, true
	}
}

// secure makes the router speak TLS.
func secure(c *router.Config, in *keeper.Inherited, m *certs.Manager) {
	if m == nil {
		return
	}
	c.TLSListeners, c.TLS = in.Listeners("https"), m.TLS()
	c.QUIC = in.PacketConns("quic")
	c.CertificateCovers, c.HTTPChallenge = m.Covers, m.HTTPChallenge
}
