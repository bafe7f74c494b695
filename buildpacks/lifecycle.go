package buildpacks

import (
	"context"
	"io"
)

// Build carries the stage's plan out. Everything the scripts write goes to
// out as it comes. The result is also left in the stage.
func Build(ctx context.Context, stage string, out io.Writer) Result {
	return Result{}
}

// Main is the sub-command a runner executes inside a stage: "buildpack-build
// STAGE". It returns the exit code, one of the Code constants.
func Main(args []string, out, errOut io.Writer) int {
	return CodeOther
}
