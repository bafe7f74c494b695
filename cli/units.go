package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// formatBytes writes a size as cf does: 512M, 1.5G, 0.
func formatBytes(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	units := []struct {
		size int64
		name string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}}
	for _, u := range units {
		if n >= u.size {
			s := strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64)
			return strings.TrimSuffix(s, ".0") + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// parseMB reads a size with a unit and returns megabytes.
func parseMB(flag, s string) (int, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	digits := strings.TrimRight(text, "BKMGT")
	shift, ok := map[string]int{"M": 0, "MB": 0, "G": 10, "GB": 10, "T": 20, "TB": 20}[text[len(digits):]]
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n <= 0 || n > math.MaxInt32>>shift {
		return 0, withHint(usagef("%s %q is no size", flag, s), "write a number with a unit: 256M or 1G")
	}
	return n << shift, nil
}

// parseSeconds reads a number of seconds, or a duration such as 2m.
func parseSeconds(flag, s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d > 24*time.Hour {
		return 0, withHint(usagef("%s %q is too long", flag, s), "write at most 24h")
	}
	if err != nil || d < time.Second {
		return 0, withHint(usagef("%s %q is no time", flag, s), "write seconds, or a duration such as 90s or 2m")
	}
	return int(d.Round(time.Second) / time.Second), nil
}

// stamp writes a moment as cf does in tables.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02T15:04:05.00-0700")
}

// plural writes "1 file", "2 files".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", thousands(n), noun)
}

// thousands writes 10023 as 10,023.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
