package cli

import (
	"strings"
	"testing"
)

func TestOptionText_FitsOnALineAndKeepsHashesToItself(t *testing.T) {
	got := optionText(map[string]string{
		"timeout": "90s", "basic-auth": "ann:$6$salt$hash bob:$2a$10$hash",
		"error-page": "<h1>Sorry</h1>\n" + strings.Repeat("ä", 100),
	})
	want := "basic-auth=ann:… bob:…, error-page=<h1>Sorry</h1> " + strings.Repeat("ä", 44) + "…, timeout=90s"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
