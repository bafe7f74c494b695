package platform

import "testing"

func TestParseMegabytes(t *testing.T) {
	for in, want := range map[string]int{
		"256M": 256, "1G": 1024, "1.5g": 1536, "2048K": 2, "64mb": 64, "1TB": 1 << 20, "1048576B": 1, " 32M ": 32,
	} {
		if got, err := ParseMegabytes(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "256", "M", "-1M", "0M", "1X", "10 apples", "NaNM", "infG", "1e30G"} {
		if got, err := ParseMegabytes(bad); err == nil {
			t.Errorf("%q: got %d, want an error", bad, got)
		}
	}
}

func TestParseLogRate(t *testing.T) {
	for in, want := range map[string]int64{"-1": -1, "0": 0, "16K": 16 << 10, "1MB": 1 << 20, "100B": 100} {
		got, err := ParseLogRate(in)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
		if again, err := ParseLogRate(FormatLogRate(got)); err != nil || again != want {
			t.Errorf("%q is formatted as %q", in, FormatLogRate(got))
		}
	}
	for _, bad := range []string{"-2", "5", "x"} {
		if _, err := ParseLogRate(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func TestFormatBytes_IsReadBack(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1000: "1000B", 1024: "1K", 3 << 19: "1536K", 2 << 30: "2G", 1 << 40: "1T"} {
		got := FormatBytes(n)
		if again, err := ParseBytes(got); got != want || err != nil || again != n {
			t.Errorf("%d is formatted as %q and read as %d, %v", n, got, again, err)
		}
	}
}

func TestFormatMegabytes_IsReadBack(t *testing.T) {
	for _, mb := range []int{1, 63, 1024, 1536, 4096} {
		if got, err := ParseMegabytes(FormatMegabytes(mb)); err != nil || got != mb {
			t.Errorf("%d is formatted as %q and read as %d, %v", mb, FormatMegabytes(mb), got, err)
		}
	}
}
