package platform

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseMegabytes reads a size of a manifest, such as "256M" or "1.5G", in
// MiB. The units are B, K, M, G and T, with or without a B after them, in
// either case; one has to be there. Less than a MiB is an error.
func ParseMegabytes(s string) (int, error) {
	n, err := ParseBytes(s)
	if err != nil {
		return 0, err
	}
	if n < 1<<20 {
		return 0, fmt.Errorf("%q is less than 1M", s)
	}
	return int(n >> 20), nil
}

// FormatMegabytes is the inverse of ParseMegabytes: "256M", "2G".
func FormatMegabytes(mb int) string {
	if mb >= 1024 && mb%1024 == 0 {
		return strconv.Itoa(mb/1024) + "G"
	}
	return strconv.Itoa(mb) + "M"
}

// ParseLogRate reads a log rate limit of a manifest in bytes per second: a
// size as in ParseMegabytes, "0", or "-1" for unlimited.
func ParseLogRate(s string) (int64, error) {
	switch s {
	case "-1":
		return -1, nil
	case "0":
		return 0, nil
	}
	return ParseBytes(s)
}

// FormatLogRate is the inverse of ParseLogRate: "-1", "0", "16K".
func FormatLogRate(n int64) string {
	if n <= 0 {
		return strconv.FormatInt(n, 10)
	}
	return FormatBytes(n)
}

// FormatBytes is the inverse of ParseBytes, exact: "512M", "1000B".
func FormatBytes(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.letter
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

var sizeUnits = []struct {
	letter string
	bytes  int64
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

// ParseBytes reads a size such as "64K" or "1.5G" in bytes, with the units of
// ParseMegabytes. The most is 1048576T.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimSpace(strings.ToUpper(s))
	bare, hasB := strings.CutSuffix(digits, "B")
	unit := int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(bare, u.letter); ok {
			bare, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(bare, 64)
	if err != nil || unit == 1 && !hasB || !(n >= 0 && n*float64(unit) <= 1<<60) { // NaN fails too
		return 0, fmt.Errorf("%q must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB", s)
	}
	return int64(n * float64(unit)), nil
}
