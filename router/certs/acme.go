package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// ACME says how certificates are got.
type ACME struct {
	// Directory is the URL of the authority. Empty means Let's Encrypt.
	Directory string
	// Email is where the authority writes to when something is wrong. May be empty.
	Email string
	// Subject says which certificate a host needs: one of its own, or one for
	// "*.example.com". ok is false for a host nothing is got for. It is asked
	// during handshakes, with whatever name a client sends.
	Subject func(host string) (subject string, ok bool)
	// DNS proves names by records, which wildcards need. Nil: the authority
	// asks at HTTPAddr and TLSAddr.
	DNS *DNS
	// HTTPAddr and TLSAddr are where the router listens itself. An authority
	// asks at ports 80 and 443, which must lead there.
	HTTPAddr, TLSAddr net.Addr

	// Roots are trusted when the authority is spoken to; nil means the
	// system's. Only tests set it, and what follows.
	Roots           *x509.CertPool
	RenewInterval   time.Duration // how often certificates are looked at; 10 min
	OnlyHTTP        bool          // of the challenges
	OnlyTLS         bool
	ObtainTimeout   time.Duration // for one try; 90 s
	firstRetryAfter time.Duration // of a name that was refused; 1 min
}

// A name whose certificate could not be got is not tried again for a while:
// firstRetry, then twice as long each time, up to lastRetry. maxFailures
// bounds how many names that is remembered of.
const (
	firstRetry  = time.Minute
	lastRetry   = 6 * time.Hour
	maxFailures = 10_000
	maxAtOnce   = 16 // certificates being got
)

// authority gets certificates and keeps them renewed.
type authority struct {
	cfg    ACME
	log    *slog.Logger
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
	ctx    context.Context // ends with the manager
	cancel context.CancelFunc
	atOnce chan struct{} // maxAtOnce slots

	mu       sync.Mutex // guards what follows
	over     bool       // no attempt begins any more
	all      sync.WaitGroup
	getting  map[string]*attempt
	failures map[string]failure
}

// attempt is a certificate on its way.
type attempt struct {
	done chan struct{} // closed at its end
	err  error         // valid then
}

type failure struct {
	until time.Time
	pause time.Duration
	err   error
}

func newAuthority(cfg Config) (*authority, error) {
	c := *cfg.ACME
	if c.ObtainTimeout <= 0 {
		c.ObtainTimeout = 90 * time.Second
	}
	if c.firstRetryAfter <= 0 {
		c.firstRetryAfter = firstRetry
	}
	a := &authority{
		cfg: c, log: cfg.Logger, atOnce: make(chan struct{}, maxAtOnce),
		getting: map[string]*attempt{}, failures: map[string]failure{},
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	logger := zapTo(cfg.Logger)
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: c.RenewInterval, Logger: logger,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: cfg.Dir}, Logger: logger,
	})
	template := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: c.Roots, Logger: logger,
		DisableHTTPChallenge: c.OnlyTLS, DisableTLSALPNChallenge: c.OnlyHTTP || c.TLSAddr == nil,
	}
	// Whatever asks there finds us listening already, and asks us.
	template.ListenHost, template.AltHTTPPort = hostPort(c.HTTPAddr)
	_, template.AltTLSALPNPort = hostPort(c.TLSAddr)
	if c.DNS != nil {
		solver, err := c.DNS.solver(logger)
		if err != nil {
			a.cancel()
			a.cache.Stop()
			return nil, err
		}
		template.DNS01Solver = solver
	}
	a.issuer = certmagic.NewACMEIssuer(a.magic, template)
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

func hostPort(a net.Addr) (string, int) {
	if a == nil {
		return "", 0
	}
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return "", 0
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ""
	}
	n, _ := strconv.Atoi(port)
	return host, n
}

// close ends what is under way, and waits for it.
func (a *authority) close() {
	a.cancel()
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	a.all.Wait()
	a.cache.Stop()
}

// acmeProtocol is the protocol of a handshake by which an authority checks a
// name.
const acmeProtocol = "acme-tls/1"

func (a *authority) isChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{acmeProtocol})
}

func (a *authority) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.magic.GetCertificateWithContext(hello.Context(), hello)
}

// find returns the certificate for name, an expired one too if there is no
// other, and gets it if there is none. For a name that nothing is served at it
// returns nil.
func (a *authority) find(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	if name == "" {
		return nil, nil
	}
	if c := a.cached(name); c != nil {
		return c, nil
	}
	subject, ok := a.cfg.Subject(name)
	if !ok {
		return nil, nil
	}
	if strings.HasPrefix(subject, "*.") && a.cfg.DNS == nil {
		subject = name
	}
	if err := a.get(hello.Context(), subject); err != nil {
		return nil, err
	}
	// The client did not cause the wait.
	_ = hello.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	if c := a.cached(name); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("certs: the certificate for %q is for something else", name)
}

// cached returns the certificate in memory that lives longest, for the name
// itself before one for a wildcard.
func (a *authority) cached(name string) *tls.Certificate {
	for _, subject := range []string{name, wildcardOf(name)} {
		var best *tls.Certificate
		for _, c := range a.cache.AllMatchingCertificates(subject) {
			if best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter) {
				best = &c.Certificate
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

func wildcardOf(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return "*" + name[i:]
	}
	return ""
}

func (a *authority) leaf(name string) *x509.Certificate {
	if c := a.cached(name); c != nil {
		return c.Leaf
	}
	return nil
}

// get makes the certificate for subject a cached one: from disk, or from the
// authority. All who ask at the same time wait for the same attempt.
func (a *authority) get(ctx context.Context, subject string) error {
	a.mu.Lock()
	if f, failed := a.failures[subject]; failed && time.Now().Before(f.until) {
		a.mu.Unlock()
		return fmt.Errorf("certs: not tried again before %s: %w", f.until.Format(time.RFC3339), f.err)
	}
	t := a.getting[subject]
	switch {
	case t != nil:
	case a.over:
		a.mu.Unlock()
		return context.Canceled
	default:
		t = &attempt{done: make(chan struct{})}
		a.getting[subject] = t
		a.all.Go(func() { a.attempt(t, subject) })
	}
	a.mu.Unlock()
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *authority) attempt(t *attempt, subject string) {
	t.err = a.loadOrObtain(subject)
	if t.err != nil && a.ctx.Err() == nil {
		a.log.Error("certificate could not be got", "host", subject, "err", t.err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.getting, subject)
	if t.err == nil {
		delete(a.failures, subject)
	} else {
		a.noteFailureLocked(subject, t.err)
	}
	close(t.done)
}

func (a *authority) loadOrObtain(subject string) error {
	_, err := a.magic.CacheManagedCertificate(a.ctx, subject)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	select {
	case a.atOnce <- struct{}{}:
		defer func() { <-a.atOnce }()
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.ObtainTimeout)
	defer cancel()
	if err := a.magic.ObtainCertAsync(ctx, subject); err != nil {
		return err
	}
	if _, err = a.magic.CacheManagedCertificate(a.ctx, subject); err == nil {
		a.log.Info("certificate got", "host", subject, "dur", time.Since(begun))
	}
	return err
}

func (a *authority) noteFailureLocked(subject string, err error) {
	if len(a.failures) >= maxFailures {
		for name, f := range a.failures {
			if len(a.failures) < maxFailures/2 && time.Now().Before(f.until) {
				break
			}
			delete(a.failures, name)
		}
	}
	pause := min(max(2*a.failures[subject].pause, a.cfg.firstRetryAfter), lastRetry)
	a.failures[subject] = failure{until: time.Now().Add(pause), pause: pause, err: err}
}
