// Package staticserver serves a directory of files as Cloud Foundry's
// staticfile buildpack does, configured by a file "Staticfile".
package staticserver

import "io"

// Main is the sub-command "static-server [DIR]": it serves DIR, or the current
// directory, at $PORT until it is told to stop, and returns the exit code.
func Main(args []string, out, errOut io.Writer) int {
	return 1
}
