package buildpacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The names inside a stage, see the package comment.
const (
	PlanFile    = "plan.json"
	ResultFile  = "result.json"
	DropletDir  = "droplet"
	AppDir      = "droplet/app"
	DepsDir     = "droplet/deps"
	ProfileDir  = "droplet/profile.d"
	StagingInfo = "droplet/staging_info.yml"
	PacksDir    = "buildpacks"
	CacheDir    = "cache"
	EnvDir      = "env"
	HomeDir     = "home"
	TempDir     = "tmp"
)

// Plan says how to build what lies in a stage.
type Plan struct {
	// Packs are the candidates in order when Detect is set, else the
	// buildpacks to use, the last of which makes the droplet runnable.
	Packs  []PlanPack `json:"packs"`
	Detect bool       `json:"detect"`
	// Strict makes a build fail when one of the given packs does not detect
	// the app, as the list in a file ".buildpacks" wants it.
	Strict bool `json:"strict"`
	// Linked says that files of the app have other names outside the stage. A
	// buildpack that does not read only gets copies of its own.
	Linked bool `json:"linked"`
	// Warm runs bin/warm of the only buildpack instead of building an app.
	Warm bool `json:"warm"`
}

// PlanPack is one buildpack of a Plan.
type PlanPack struct {
	Key     string `json:"key"`     // as the user gave it: a name or a URL
	Name    string `json:"name"`    // as it is shown
	Version string `json:"version"` // may be empty
	Dir     string `json:"dir"`     // below the stage's buildpacks directory
	// LooksFor tells a person what makes it detect an app.
	LooksFor string `json:"looks_for"`
	// ReadsOnly is that of the BuiltIn.
	ReadsOnly bool `json:"reads_only"`
}

// The exit codes of a build, as Cloud Foundry's builder has them.
const (
	CodeOK             = 0
	CodeOther          = 1
	CodeNotDetected    = 222
	CodeCompileFailed  = 223
	CodeReleaseFailed  = 224
	CodeSupplyFailed   = 225
	CodeFinalizeFailed = 226
)

// Result is what came of a build.
type Result struct {
	Code int `json:"code"`
	// Message says what went wrong, for a person; empty when Code is 0.
	Message string `json:"message,omitempty"`
	// Pack and Script name what failed, ExitStatus how: the script's status,
	// or -1 when a signal ended it.
	Pack       string   `json:"pack,omitempty"`
	Script     string   `json:"script,omitempty"`
	ExitStatus int      `json:"exit_status,omitempty"`
	Tail       []string `json:"tail,omitempty"` // the last lines the script wrote

	// Matches are all buildpacks that detected the app, in order.
	Matches      []Match           `json:"matches,omitempty"`
	Used         []Used            `json:"used,omitempty"`
	ProcessTypes map[string]string `json:"process_types,omitempty"`
	Sidecars     []Sidecar         `json:"sidecars,omitempty"`
	// ScriptTime is the time the buildpacks' own scripts took, so that the
	// rest of a build can be accounted to the platform.
	ScriptTime time.Duration `json:"script_time"`
}

// Match is a buildpack that detected the app.
type Match struct {
	Name   string `json:"name"`
	Output string `json:"output"`
}

// Used is a buildpack that took part in a build.
type Used struct {
	Key          string `json:"key"`
	Name         string `json:"name"`
	Version      string `json:"version"`
	DetectOutput string `json:"detect_output"`
}

// Sidecar is an extra process a buildpack wants beside others.
type Sidecar struct {
	Name         string   `json:"name"`
	Command      string   `json:"command"`
	ProcessTypes []string `json:"process_types"`
	MemoryMB     int      `json:"memory_mb"`
}

// maxResult bounds what is read of a result: the build could have written
// anything there.
const maxResult = 4 << 20

// WritePlan puts the plan into the stage.
func WritePlan(stage string, p Plan) error {
	return writeJSON(filepath.Join(stage, PlanFile), p)
}

// ReadResult returns the result a build left in the stage. The file is not
// trusted: a link out of the stage is not followed, and its size is bounded.
func ReadResult(stage string) (Result, error) {
	root, err := os.OpenRoot(stage)
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	info, err := root.Lstat(ResultFile)
	if err != nil {
		return Result{}, err
	}
	if !info.Mode().IsRegular() {
		return Result{}, errors.New("the build's result is not a file")
	}
	f, err := root.Open(ResultFile)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	var r Result
	if err := json.NewDecoder(io.LimitReader(f, maxResult)).Decode(&r); err != nil {
		return Result{}, fmt.Errorf("reading the build's result: %w", err)
	}
	return r, nil
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
