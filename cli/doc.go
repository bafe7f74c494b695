// Package cli is what a person types. It turns a command line into calls of
// the HTTP API and shows what came of them: the result on standard output,
// everything else on standard error, an exit code a script can rely on.
//
// It knows no server package. Commands that are a server (weir serve) are
// handed in by main as Command values.
package cli
