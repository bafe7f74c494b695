package router

import (
	"fmt"
	"strconv"
	"time"
)

// The options of a route that the router understands.
const (
	// OptionTimeout is how long an instance may take to begin its answer:
	// "90s", or plain seconds; at most 15 minutes.
	OptionTimeout = "timeout"
)

const maxResponseTimeout = 15 * time.Minute

// CheckOptions reports the first option of a route whose value the router
// would not understand. Options it does not know are none of its business.
func CheckOptions(options map[string]string) error {
	if v, ok := options[OptionTimeout]; ok && responseTimeout(options) == 0 {
		return fmt.Errorf("option %q must be a duration of at most %s, like \"90s\", not %q", OptionTimeout, "15m", v)
	}
	return nil
}

// responseTimeout returns the route's own response timeout, or 0.
func responseTimeout(options map[string]string) time.Duration {
	v := options[OptionTimeout]
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		n, err := strconv.Atoi(v)
		if err != nil || n > int(maxResponseTimeout/time.Second) {
			return 0
		}
		d = time.Duration(n) * time.Second
	}
	if d <= 0 || d > maxResponseTimeout {
		return 0
	}
	return d
}
