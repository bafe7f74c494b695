package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/router/certs"
)

// What is wrong with a certificate is said with the name the operator gave.
func TestLendCertificates_NamesTheFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "mine.crt")
	if err := os.WriteFile(bad, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, cfg := range map[string]Config{
		bad:                               {TLSCerts: []string{bad}},
		filepath.Join(dir, "missing.crt"): {TLSCerts: []string{filepath.Join(dir, "missing.crt")}},
		"invalid character":               {ACMEDNS: bad},
	} {
		cfg.DataDir, cfg.UID = dir, os.Getuid()
		if _, err := lendCertificates(&cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A router may start at any moment, also while the operator's files are broken.
func TestLendCertificates_LendsOnlyWhatCanBeUsed(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(from, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := selfSignedPEM(t)
	write("mine.crt", cert)
	write("mine.key", key)
	cfg := Config{DataDir: dir, UID: os.Getuid(), TLSCerts: []string{from}}
	l, err := lendCertificates(&cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	lent := func() string {
		t.Helper()
		pairs, err := certs.FindPairs(cfg.TLSCerts, cfg.TLSKeys)
		if err == nil {
			err = certs.Check(pairs)
		}
		if err != nil || len(pairs) != 1 {
			t.Fatalf("%d pairs, %v", len(pairs), err)
		}
		b, err := os.ReadFile(pairs[0].Cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if lent() != string(cert) {
		t.Error("another certificate is lent")
	}
	other, otherKey := selfSignedPEM(t)
	write("mine.crt", other)
	if err := l.take(); err == nil || !strings.Contains(err.Error(), filepath.Join(from, "mine.key")) {
		t.Errorf("a key of another certificate: %v", err)
	}
	if lent() != string(cert) {
		t.Error("the old certificate is lent no more")
	}
	write("mine.key", otherKey)
	if err := l.take(); err != nil || lent() != string(other) {
		t.Errorf("the new certificate is not lent: %v", err)
	}
}

func selfSignedPEM(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}
