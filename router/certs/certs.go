// Package certs knows how to find the certificate for a handshake: one the
// operator gave, one got from an ACME authority and kept renewed, or, where
// there is neither, one signed by itself.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Config is what a Manager needs. Certificates that are given go before those
// that are got.
type Config struct {
	// Dir is where what is got is kept, private keys 0600.
	Dir string
	// Given says which certificates are the operator's own. It is asked now
	// and then, and files that changed are read again. Nil: there are none.
	Given func() ([]Pair, error)
	// ACME says where others are got. Nil: none are.
	ACME *ACME
	// SelfSigned are the names of a certificate that is made when there is no
	// other at all: for trying things out.
	SelfSigned []string
	// Logger takes what an operator should know. Nil discards it.
	Logger *slog.Logger
	// PollInterval is how often Given and its files are looked at; 5 s.
	PollInterval time.Duration
}

// Manager finds certificates. Make one with New, let it work with Run.
type Manager struct {
	cfg   Config
	log   *slog.Logger
	given atomic.Pointer[givenSet]
	acme  *authority // nil without ACME
	self  *tls.Certificate

	strangers strangers

	said   string          // why changed files are not taken, as it was logged; reload's
	warned map[string]bool // of which ends it was warned; warnOfEnds's
}

// endsSoon is how long before its end it is warned of a given certificate.
const endsSoon = 7 * 24 * time.Hour

// New reads the given certificates. An error says which file cannot be used.
func New(cfg Config) (*Manager, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = 5 * time.Second
	}
	m := &Manager{cfg: cfg, log: cfg.Logger, strangers: strangers{log: cfg.Logger}}
	pairs, err := m.pairs()
	if err != nil {
		return nil, err
	}
	set, err := readGiven(pairs)
	if err != nil {
		return nil, err
	}
	m.given.Store(set)
	m.warnOfEnds(time.Now())
	if cfg.ACME != nil {
		if m.acme, err = newAuthority(cfg); err != nil {
			return nil, err
		}
	}
	if m.acme == nil && len(set.all) == 0 {
		if len(cfg.SelfSigned) == 0 {
			return nil, errors.New("no certificate is given, and no authority to get one from")
		}
		if m.self, err = selfSigned(cfg.Dir, cfg.SelfSigned); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Run reads given files again when they change, and ends what New began, until
// ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if m.acme != nil {
				m.acme.close()
			}
			return nil
		case now := <-tick.C:
			m.reload()
			m.warnOfEnds(now)
		}
	}
}

func (m *Manager) pairs() ([]Pair, error) {
	if m.cfg.Given == nil {
		return nil, nil
	}
	return m.cfg.Given()
}

// reload takes given files that changed, if all of them can be used.
func (m *Manager) reload() {
	pairs, err := m.pairs()
	if err == nil && !m.given.Load().isStale(pairs) {
		return
	}
	var set *givenSet
	if err == nil {
		set, err = readGiven(pairs)
	}
	if err != nil {
		// Half written, perhaps: it is read again the next time.
		if text := err.Error(); m.said != text {
			m.said = text
			m.log.Warn("changed certificate cannot be used, the old one is", "err", err)
		}
		return
	}
	m.said = ""
	m.given.Store(set)
	m.log.Info("certificates read again", "count", len(set.all))
}

// warnOfEnds says of each given certificate once that it will end soon, and
// once that it has ended: nobody renews it but its owner.
func (m *Manager) warnOfEnds(now time.Time) {
	for _, c := range m.given.Load().all {
		text, end := "certificate expires soon", c.Leaf.NotAfter
		switch {
		case now.After(end):
			text = "certificate has expired"
		case now.Add(endsSoon).Before(end):
			continue
		}
		if key := text + string(c.Leaf.Raw); !m.warned[key] {
			if m.warned == nil {
				m.warned = map[string]bool{}
			}
			m.warned[key] = true
			m.log.Warn(text, "names", strings.Join(namesOf(c.Leaf), " "), "end", end)
		}
	}
}

// TLS returns how a server finds its certificates.
func (m *Manager) TLS() *tls.Config {
	return &tls.Config{GetCertificate: m.certificate}
}

// certificate finds the certificate for a handshake. If one has to be got
// first, it waits for that; the deadline of the connection begins anew then.
// For a name that nothing is served at there is none, and no error: the client
// is told by the alert unrecognized_name.
func (m *Manager) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if m.acme != nil && m.acme.isChallenge(hello) {
		return m.acme.challenge(hello)
	}
	if c := m.given.Load().find(name, hello); c != nil {
		return c, nil
	}
	if m.acme != nil {
		c, err := m.acme.find(hello, name)
		if c != nil || err != nil {
			return c, err
		}
	}
	// A client that names nobody gets what there is.
	if set := m.given.Load(); name == "" && len(set.all) > 0 {
		return set.all[0], nil
	}
	if m.self != nil {
		return m.self, nil
	}
	m.strangers.note(name, time.Now())
	return nil, nil
}

// Covers reports whether the certificate that serves name is good for other.
func (m *Manager) Covers(name, other string) bool {
	var leaf *x509.Certificate
	if c := m.given.Load().find(name, nil); c != nil {
		leaf = c.Leaf
	} else if m.acme != nil {
		leaf = m.acme.leaf(name)
	} else if m.self != nil {
		leaf = m.self.Leaf
	}
	return leaf != nil && leaf.VerifyHostname(other) == nil
}

// HTTPChallenge answers the request of an authority that checks a name, and
// reports whether it was one.
func (m *Manager) HTTPChallenge(w http.ResponseWriter, r *http.Request) bool {
	return m.acme != nil && m.acme.issuer.HandleHTTPChallenge(w, r)
}
