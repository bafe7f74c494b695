package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with a certificate is said with the name the operator gave.
func TestCheckCertificates_NamesTheFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "mine.crt")
	if err := os.WriteFile(bad, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, cfg := range map[string]Config{
		bad:                               {TLSCerts: []string{bad}},
		filepath.Join(dir, "missing.crt"): {TLSCerts: []string{filepath.Join(dir, "missing.crt")}},
	} {
		if err := checkCertificates(cfg); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
