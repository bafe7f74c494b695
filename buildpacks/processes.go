package buildpacks

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// procfileLine is what both Heroku and Cloud Foundry take for a process.
var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(.+)$`)

// ParseProcfile returns the processes of a Procfile, type by type, and the
// numbers of the lines it could not understand. Blank lines and comments are
// passed over; of two lines for one type the last counts. A command wrapped
// whole in quotes, as the YAML reading of a Procfile allows, loses them.
func ParseProcfile(data []byte) (processes map[string]string, bad []int) {
	processes = map[string]string{}
	text := strings.TrimPrefix(string(data), "\ufeff")
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line == "---" || strings.HasPrefix(line, "#") {
			continue
		}
		m := procfileLine.FindStringSubmatch(line)
		if m == nil || strings.ContainsRune(line, 0) {
			bad = append(bad, i+1)
			continue
		}
		processes[m[1]] = unquote(strings.TrimSpace(m[2]))
	}
	return processes, bad
}

// unquote strips the quotes around a command if they enclose all of it.
func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '"' && s[0] != '\'' {
		return s
	}
	if inner := s[1 : len(s)-1]; !strings.ContainsRune(inner, rune(s[0])) {
		return inner
	}
	return s
}

// releaseInfo is what bin/release prints.
type releaseInfo struct {
	processes  map[string]string
	configVars map[string]string
}

// parseRelease reads the YAML of bin/release. No document, "--- {}" and a
// bare "---" all mean: nothing to say.
func parseRelease(data []byte) (releaseInfo, error) {
	var doc struct {
		Processes  map[string]yaml.Node `yaml:"default_process_types"`
		ConfigVars map[string]yaml.Node `yaml:"config_vars"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return releaseInfo{}, fmt.Errorf("not YAML: %w", err)
	}
	r := releaseInfo{processes: map[string]string{}, configVars: map[string]string{}}
	for _, part := range []struct {
		name     string
		from     map[string]yaml.Node
		to       map[string]string
		required bool
	}{{"default_process_types", doc.Processes, r.processes, true}, {"config_vars", doc.ConfigVars, r.configVars, false}} {
		for key, node := range part.from {
			if node.Kind != yaml.ScalarNode {
				return releaseInfo{}, fmt.Errorf("%s: %q is not a text", part.name, key)
			}
			if node.Tag == "!!null" || part.required && strings.TrimSpace(node.Value) == "" {
				continue
			}
			part.to[key] = node.Value
		}
	}
	return r, nil
}

// launchInfo is what a buildpack leaves in deps/<index>/launch.yml.
type launchInfo struct {
	processes map[string]string
	sidecars  []Sidecar
}

// parseLaunch reads launch.yml. A process that names the processes it stands
// beside is a sidecar of them.
func parseLaunch(data []byte) (launchInfo, error) {
	var doc struct {
		Processes []struct {
			Type      string `yaml:"type"`
			Command   string `yaml:"command"`
			Platforms struct {
				CloudFoundry struct {
					SidecarFor []string `yaml:"sidecar_for"`
				} `yaml:"cloudfoundry"`
			} `yaml:"platforms"`
			Limits struct {
				Memory int `yaml:"memory"`
			} `yaml:"limits"`
		} `yaml:"processes"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return launchInfo{}, fmt.Errorf("not YAML: %w", err)
	}
	l := launchInfo{processes: map[string]string{}}
	for _, p := range doc.Processes {
		switch {
		case p.Type == "" || strings.TrimSpace(p.Command) == "":
			return launchInfo{}, fmt.Errorf("a process without type or command")
		case len(p.Platforms.CloudFoundry.SidecarFor) > 0:
			l.sidecars = append(l.sidecars, Sidecar{
				Name: p.Type, Command: p.Command,
				ProcessTypes: p.Platforms.CloudFoundry.SidecarFor, MemoryMB: p.Limits.Memory,
			})
		default:
			l.processes[p.Type] = p.Command
		}
	}
	return l, nil
}

// ParseList reads a file ".buildpacks": one buildpack a line, "#" begins a
// comment line.
func ParseList(data []byte) []string {
	var list []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

// exportDefaults renders the variables as a script that sets those which are
// not set yet.
func exportDefaults(vars map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !isVariable(name) {
			continue
		}
		quoted := "'" + strings.ReplaceAll(vars[name], "'", `'\''`) + "'"
		fmt.Fprintf(&b, "[ -n \"${%s+set}\" ] || export %s=%s\n", name, name, quoted)
	}
	return b.String()
}

// isVariable reports whether a shell can have a variable of that name.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
