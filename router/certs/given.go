package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Pair names the files of a certificate, with its chain, and of its key, both
// PEM.
type Pair struct{ Cert, Key string }

// FindPairs makes pairs of what an operator named: files, each certificate
// with the key at the same place, or directories, in which X.crt or X.pem goes
// with X.key. A certificate without a key holds its key itself.
func FindPairs(certs, keys []string) ([]Pair, error) {
	if len(keys) > 0 && len(keys) != len(certs) {
		return nil, fmt.Errorf("%d certificates, but %d keys", len(certs), len(keys))
	}
	var pairs []Pair
	for i, c := range certs {
		info, err := os.Stat(c)
		if err != nil {
			return nil, err
		}
		switch {
		case info.IsDir():
			found, err := pairsIn(c)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, found...)
		case len(keys) > 0:
			pairs = append(pairs, Pair{c, keys[i]})
		default:
			pairs = append(pairs, Pair{c, c})
		}
	}
	return pairs, nil
}

func pairsIn(dir string) ([]Pair, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var pairs []Pair
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || ext != ".crt" && ext != ".pem" {
			continue
		}
		p := Pair{Cert: filepath.Join(dir, e.Name())}
		p.Key = strings.TrimSuffix(p.Cert, ext) + ".key"
		if _, err := os.Stat(p.Key); errors.Is(err, fs.ErrNotExist) {
			p.Key = p.Cert
		}
		pairs = append(pairs, p)
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("no certificate (X.crt or X.pem) in %s", dir)
	}
	return pairs, nil
}

// givenSet is a set of given certificates. It never changes.
type givenSet struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate
	pairs  []Pair
	files  map[string]fileState
}

// Check reports the first pair that cannot be used.
func Check(pairs []Pair) error {
	_, err := readGiven(pairs)
	return err
}

type fileState struct {
	size int64
	at   time.Time
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info.Size(), info.ModTime()}
}

func readGiven(pairs []Pair) (*givenSet, error) {
	set := &givenSet{byName: map[string][]*tls.Certificate{}, pairs: pairs, files: map[string]fileState{}}
	for _, p := range pairs {
		set.files[p.Cert], set.files[p.Key] = stateOf(p.Cert), stateOf(p.Key)
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
		}
		set.add(&c)
	}
	return set, nil
}

func (s *givenSet) add(c *tls.Certificate) {
	s.all = append(s.all, c)
	for _, name := range namesOf(c.Leaf) {
		s.byName[name] = append(s.byName[name], c)
	}
}

func namesOf(leaf *x509.Certificate) []string {
	var names []string
	for _, n := range leaf.DNSNames {
		names = append(names, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, strings.ToLower(leaf.Subject.CommonName))
	}
	return names
}

// find returns the certificate for a name: one that the client can use, which
// has not expired, before others.
func (s *givenSet) find(name string, hello *tls.ClientHelloInfo) *tls.Certificate {
	all := s.byName[name]
	if len(all) == 0 {
		if i := strings.IndexByte(name, '.'); i > 0 {
			all = s.byName["*"+name[i:]]
		}
	}
	if len(all) == 0 {
		return nil
	}
	best := slices.IndexFunc(all, func(c *tls.Certificate) bool {
		return time.Now().Before(c.Leaf.NotAfter) && (hello == nil || hello.SupportsCertificate(c) == nil)
	})
	return all[max(best, 0)]
}

// isStale reports whether pairs are not those of the set any more, or a file
// has changed.
func (s *givenSet) isStale(pairs []Pair) bool {
	if !slices.Equal(pairs, s.pairs) {
		return true
	}
	for path, was := range s.files {
		if stateOf(path) != was {
			return true
		}
	}
	return false
}
