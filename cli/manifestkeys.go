package cli

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// The keys of an application and of a process that mean something to weir or
// to cf, with dashes. The server ignores all others, because cf's does; a
// person who mistyped one should hear of it.
var (
	processKeys = []string{
		"type", "command", "instances", "memory", "disk-quota", "log-rate-limit-per-second", "timeout",
		"health-check-type", "health-check-http-endpoint", "health-check-invocation-timeout", "health-check-interval",
		"readiness-health-check-type", "readiness-health-check-http-endpoint",
		"readiness-health-check-invocation-timeout", "readiness-health-check-interval", "readiness-health-invocation-timeout",
	}
	appKeys = append([]string{
		"name", "path", "buildpack", "buildpacks", "stack", "env", "services", "sidecars", "processes", "metadata",
		"features", "routes", "no-route", "random-route", "default-route", "rollout", "lifecycle", "docker",
	}, processKeys...)
)

// unknownKeys describes the keys that nothing reads.
func (m *manifest) unknownKeys() (notes []string) {
	for _, a := range m.apps {
		notes = append(notes, m.strangers(a.node, appKeys)...)
		if list := lookup(a.node, "processes"); list != nil && list.Kind == yaml.SequenceNode {
			for _, p := range list.Content {
				notes = append(notes, m.strangers(p, processKeys)...)
			}
		}
	}
	return notes
}

func (m *manifest) strangers(n *yaml.Node, known []string) (notes []string) {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := strings.ReplaceAll(n.Content[i].Value, "_", "-")
		if slices.Contains(known, key) {
			continue
		}
		note := fmt.Sprintf("%s: line %d: nothing reads %q", m.path, n.Content[i].Line, n.Content[i].Value)
		if near := nearest(key, known); near != "" {
			note += fmt.Sprintf(", did you mean %q?", near)
		}
		notes = append(notes, note)
	}
	return notes
}
