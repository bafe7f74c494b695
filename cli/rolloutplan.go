package cli

import (
	"strings"

	v3 "weir/api/v3"
)

// drawPlan shows a plan with all its keys.
func drawPlan(p *page) {
	p.line(p.paint(bold, "A plan, in the manifest:"))
	for line := range strings.Lines(v3.RolloutPlanExample) {
		p.line("  " + strings.TrimRight(line, "\n"))
	}
}
