// Package isolation runs one process tree on Linux, apart from the others.
package isolation

// InitCommand is the hidden sub-command of the binary that becomes the init of
// an instance: `weir init <guid>`.
const InitCommand = "init"

// InitMain is the whole life of an instance's init; it never returns. main
// calls it for the sub-command InitCommand, as early as possible, and so does
// the TestMain of a test binary that starts instances.
func InitMain() {}

// IsInit reports whether this process was started to be an init.
func IsInit() bool { return false }
