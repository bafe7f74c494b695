package platform

import (
	"strings"
	"testing"
)

func TestIsGUID(t *testing.T) {
	guid := NewGUID()
	if !IsGUID(guid) {
		t.Errorf("%q is none", guid)
	}
	for _, bad := range []string{
		"", "lost+found", guid[1:], guid + "0", strings.ToUpper("abcdefab" + guid[8:]), strings.ReplaceAll(guid, "-", "0"), strings.Repeat("-", 36),
	} {
		if IsGUID(bad) {
			t.Errorf("%q is one", bad)
		}
	}
}
