package auth_test

import (
	"net/http"
	"testing"

	"weir/internal/auth"
)

func TestBearer_TakesTheTokenOfTheHeaderAlone(t *testing.T) {
	for header, want := range map[string]string{
		"bearer abc": "abc", "Bearer abc": "abc", "BEARER  abc ": "abc",
		"": "", "abc": "", "bearer": "", "bearer ": "", "Basic abc": "", "bearerabc": "",
	} {
		got, ok := auth.Bearer(http.Header{"Authorization": {header}})
		if got != want || ok != (want != "") {
			t.Errorf("Bearer(%q) = %q, %v", header, got, ok)
		}
	}
}
