package buildpacks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// finish collects the process types and completes the droplet.
func (b *build) finish() error {
	if err := b.collectProcesses(); err != nil {
		return err
	}
	if err := b.readProcfile(); err != nil {
		return err
	}
	if err := b.linkProfile(); err != nil {
		return err
	}
	if err := relink(filepath.Join(b.stage, DropletDir)); err != nil {
		return err
	}
	if b.result.ProcessTypes["web"] == "" {
		fmt.Fprintln(b.out, "       Warning: no start command for the web process was found; give one in a Procfile or with -c")
	}
	return b.writeStagingInfo()
}

// collectProcesses merges what the buildpacks say should run: each launch.yml
// in order, then bin/release of the last buildpack unless it has a launch.yml.
func (b *build) collectProcesses() error {
	b.result.ProcessTypes = map[string]string{}
	lastHasLaunch := false
	for i, p := range b.packs {
		data, err := readSmall(filepath.Join(b.stage, DepsDir, b.indexName(p.index), "launch.yml"))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return b.releaseFailed(&p, "launch.yml", err)
		}
		launch, err := parseLaunch(data)
		if err != nil {
			return b.releaseFailed(&p, "launch.yml", err)
		}
		maps.Copy(b.result.ProcessTypes, launch.processes)
		b.result.Sidecars = append(b.result.Sidecars, launch.sidecars...)
		lastHasLaunch = i == len(b.packs)-1
	}
	last := &b.packs[len(b.packs)-1]
	if lastHasLaunch || !last.has["release"] {
		return nil
	}
	return b.release(last)
}

// release asks the last buildpack for its default processes and variables.
func (b *build) release(p *pack) error {
	var out bytes.Buffer
	complaints := &tail{}
	if err := b.exec(p, "release", &limited{buf: &out}, complaints, filepath.Join(b.stage, AppDir)); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			b.result.ExitStatus = exit.ExitCode()
		}
		b.result.Tail = complaints.lines()
		return b.releaseFailed(p, "bin/release", err)
	}
	r, err := parseRelease(out.Bytes())
	if err != nil {
		return b.releaseFailed(p, "bin/release", err)
	}
	maps.Copy(b.result.ProcessTypes, r.processes)
	if script := exportDefaults(r.configVars); script != "" {
		return os.WriteFile(filepath.Join(b.stage, ProfileDir, "001_config_vars.sh"), []byte(script), 0o644)
	}
	return nil
}

func (b *build) releaseFailed(p *pack, what string, err error) error {
	b.result.Code, b.result.Pack, b.result.Script = CodeReleaseFailed, p.Name, what
	return fmt.Errorf("%s of buildpack %s: %w", what, p.Name, err)
}

// readProcfile lets the app's own Procfile win over the buildpacks.
func (b *build) readProcfile() error {
	data, err := readSmall(filepath.Join(b.stage, AppDir, "Procfile"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		b.result.Code = CodeReleaseFailed
		return fmt.Errorf("reading the Procfile: %w", err)
	}
	processes, bad := ParseProcfile(data)
	for _, line := range bad {
		fmt.Fprintf(b.out, "       Warning: line %d of the Procfile is not of the form \"type: command\" and is ignored\n", line)
	}
	maps.Copy(b.result.ProcessTypes, processes)
	return nil
}

// suppliedProfile makes what buildpacks supplied usable at run time. Cloud
// Foundry's own packs write such a script themselves, under this name.
const (
	suppliedProfileName = "000_multi-supply.sh"
	suppliedProfile     = `# Puts what the buildpacks supplied on the paths of the app.
for dep in "$DEPS_DIR"/*; do
  if [ -d "$dep/bin" ]; then export PATH="$dep/bin:$PATH"; fi
  if [ -d "$dep/lib" ]; then export LD_LIBRARY_PATH="$dep/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi
  for script in "$dep"/profile.d/*.sh; do
    if [ -f "$script" ]; then . "$script"; fi
  done
done
unset dep script
`
)

// linkProfile writes that script unless a buildpack did, or nothing was
// supplied.
func (b *build) linkProfile() error {
	supplied := false
	for _, p := range b.packs {
		dep := filepath.Join(b.stage, DepsDir, b.indexName(p.index))
		entries, err := os.ReadDir(dep)
		if err == nil && len(entries) == 0 {
			if err := os.Remove(dep); err != nil {
				return err
			}
		}
		supplied = supplied || len(entries) > 0
	}
	target := filepath.Join(b.stage, ProfileDir, suppliedProfileName)
	if _, err := os.Lstat(target); err == nil || !supplied {
		return nil
	}
	return os.WriteFile(target, []byte(suppliedProfile), 0o644)
}

// writeStagingInfo leaves what Cloud Foundry's launcher reads in the droplet.
func (b *build) writeStagingInfo() error {
	info := struct {
		DetectedBuildpack string `json:"detected_buildpack"`
		StartCommand      string `json:"start_command"`
	}{b.packs[len(b.packs)-1].Name, b.result.ProcessTypes["web"]}
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	target := filepath.Join(b.stage, StagingInfo)
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	return os.WriteFile(target, append(data, '\n'), 0o644)
}

// relink makes absolute links that point into the droplet relative: they
// would lead nowhere once the droplet has moved to where it runs.
func relink(droplet string) error {
	return filepath.WalkDir(droplet, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return nil // the commit of the droplet tells about it
			}
			return err
		}
		if e.Type() != fs.ModeSymlink {
			return nil
		}
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, droplet+"/") {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(path), target)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(rel, path)
	})
}

// CacheName is the name, under the cache, of the directory that belongs to the
// buildpack with the given key, which may be a URL.
func CacheName(key string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if key != "" && len(key) <= 40 && !slices.ContainsFunc([]rune(key), func(r rune) bool { return !safe(r) }) {
		return "pack-" + key
	}
	sum := sha256.Sum256([]byte(key))
	return "pack-" + hex.EncodeToString(sum[:8])
}
