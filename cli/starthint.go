package cli

import (
	"fmt"
	"regexp"
	"strings"

	"weir/internal/platform"
)

// memoryLimit is how the platform says that an instance took too much.
var memoryLimit = regexp.MustCompile(`out of memory \(limit ([0-9.]+[KMGT])\)`)

// startHint says what to do about a start that failed, by the reason the
// platform gave.
func startHint(app, why string) string {
	logs := "weir logs " + app + " --recent shows what it said"
	switch {
	case strings.Contains(why, "out of memory"):
		more := "MORE"
		if m := memoryLimit.FindStringSubmatch(why); m != nil {
			if mb, err := parseMB("-m", m[1]); err == nil {
				more = platform.FormatMegabytes(2 * mb)
			}
		}
		return fmt.Sprintf("give it more: push again with a larger -m, or weir scale %s -m %s; %s", app, more, logs)
	case strings.HasSuffix(why, "exited with status 0") || strings.Contains(why, "exited with status 0 "):
		return "a program must stay in the foreground: one that goes on in the background, or has done its work, ends like this; " + logs
	case strings.Contains(why, "exited with status 127"):
		return "there is no such program: see the start command in weir app " + app + "; " + logs
	case strings.Contains(why, "did not listen on its port"):
		return "it must listen on the port in PORT, on all addresses; if it needs more time, push with -t 2m; " + logs
	case strings.Contains(why, "did not answer its health check") && strings.Contains(why, " answered "):
		return "weir set-health-check " + app + " http --endpoint PATH asks for another path; " + logs
	case strings.Contains(why, "did not answer its health check"):
		return "if it needs more time, push with -t 2m; " + logs
	}
	return logs
}
