package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"weir/internal/platform"
)

// Bounds of a manifest beyond its size: aliases let a small text mean a lot.
const (
	maxYAMLDepth = 32
	maxYAMLNodes = 100_000
)

// parseManifest reads a manifest. Keys may be written with "-" or "_"; those
// it does not know are ignored, for clients send their own. It refuses what
// has the wrong shape, with one error per application; whether the values make
// sense is the engine's to say.
func parseManifest(text []byte) (platform.Manifest, error) {
	var m platform.Manifest
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return m, parseError("invalid YAML: " + strings.TrimPrefix(err.Error(), "yaml: "))
	}
	budget := maxYAMLNodes
	root, err := fromNode(&doc, maxYAMLDepth, &budget)
	if err != nil {
		return m, parseError(err.Error())
	}
	top, ok := root.(mapping)
	if !ok {
		return m, platform.Invalidf("Cannot parse manifest with no 'applications' field.")
	}
	if v, ok := top.get("version"); ok && v != nil {
		if s, ok := v.(scalar); !ok || s.text != "1" {
			return m, platform.Invalidf("Unsupported manifest schema version. Currently supported versions: [1].")
		}
		m.Version = 1
	}
	apps, ok := top.get("applications")
	list, isList := apps.(sequence)
	switch {
	case !ok || apps == nil:
		return m, platform.Invalidf("Cannot parse manifest with no 'applications' field.")
	case !isList:
		return m, platform.Invalidf("Applications must be an array of application configurations")
	}
	var errs []error
	for i, entry := range list {
		app, err := parseManifestApp(i, entry)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.Applications = append(m.Applications, app)
	}
	return m, errors.Join(errs...)
}

// The tree of a manifest, with aliases and merge keys resolved: a mapping, a
// sequence, a scalar, or nil for null.
type (
	mapping  []pair
	sequence []any
	scalar   struct {
		text string // as written
		tag  string // !!str, !!int, !!float, !!bool …
	}
	pair struct {
		key   string // with "-" for "_", as far as keys of manifests go
		raw   string
		value any
	}
)

// get returns the value of a key; the last one wins.
func (m mapping) get(key string) (any, bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].key == key {
			return m[i].value, true
		}
	}
	return nil, false
}

func fromNode(n *yaml.Node, depth int, budget *int) (any, error) {
	if *budget--; *budget < 0 {
		return nil, errors.New("the YAML means more than it says: too many aliases")
	}
	if depth < 0 {
		return nil, errors.New("the YAML is nested too deep")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return fromNode(n.Content[0], depth, budget)
	case yaml.AliasNode:
		return fromNode(n.Alias, depth-1, budget)
	case yaml.SequenceNode:
		s := sequence{}
		for _, c := range n.Content {
			v, err := fromNode(c, depth-1, budget)
			if err != nil {
				return nil, err
			}
			s = append(s, v)
		}
		return s, nil
	case yaml.MappingNode:
		return fromMapping(n, depth, budget)
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return nil, nil
		}
		return scalar{text: n.Value, tag: n.ShortTag()}, nil
	}
	return nil, nil // an empty document
}

func fromMapping(n *yaml.Node, depth int, budget *int) (any, error) {
	var merged, own mapping
	for i := 0; i+1 < len(n.Content); i += 2 {
		v, err := fromNode(n.Content[i+1], depth-1, budget)
		if err != nil {
			return nil, err
		}
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, mergeOf(v)...)
			continue
		}
		own = append(own, pair{strings.ReplaceAll(key.Value, "_", "-"), key.Value, v})
	}
	return append(merged, own...), nil
}

// mergeOf returns what "<<: value" brings: of several mappings the first wins.
func mergeOf(v any) mapping {
	switch v := v.(type) {
	case mapping:
		return v
	case sequence:
		var m mapping
		for i := len(v) - 1; i >= 0; i-- {
			if one, ok := v[i].(mapping); ok {
				m = append(m, one...)
			}
		}
		return m
	}
	return nil
}

// fieldReader reads fields of a mapping and collects what is wrong with them.
type fieldReader struct {
	m        mapping
	problems []string
}

func (r *fieldReader) wrong(key, must string) {
	r.problems = append(r.problems, humanized(key)+" must be "+must)
}

// humanized writes a key as Cloud Foundry's messages do: "Disk quota".
func humanized(key string) string {
	s := strings.ReplaceAll(key, "-", " ")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// text returns a scalar's text, nil if the key is absent or null.
func (r *fieldReader) text(key string) *string {
	v, _ := r.m.get(key)
	switch v := v.(type) {
	case nil:
		return nil
	case scalar:
		return &v.text
	}
	r.wrong(key, "a string")
	return nil
}

func (r *fieldReader) str(key string) string {
	if s := r.text(key); s != nil {
		return *s
	}
	return ""
}

func (r *fieldReader) integer(key string) *int {
	s := r.text(key)
	if s == nil {
		return nil
	}
	n, err := strconv.Atoi(*s)
	if err != nil {
		r.wrong(key, "an integer")
		return nil
	}
	return &n
}

func (r *fieldReader) boolean(key string) bool {
	s := r.text(key)
	if s == nil {
		return false
	}
	b, ok := yamlBool(*s)
	if !ok {
		r.wrong(key, "true or false")
	}
	return b
}

// yamlBool reads a boolean as YAML 1.1 has it, which is what cf speaks.
func yamlBool(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	return false, false
}

// sequence returns a list, nil if the key is absent or null.
func (r *fieldReader) sequence(key string) sequence {
	v, _ := r.m.get(key)
	switch v := v.(type) {
	case nil:
		return nil
	case sequence:
		return v
	}
	r.wrong(key, "a list")
	return nil
}

func (r *fieldReader) mapping(key string) mapping {
	v, _ := r.m.get(key)
	switch v := v.(type) {
	case nil:
		return nil
	case mapping:
		return v
	}
	r.wrong(key, "an object")
	return nil
}

// texts returns a list of scalars, nil if the key is absent or null.
func (r *fieldReader) texts(key string) []string {
	s := r.sequence(key)
	if s == nil {
		return nil
	}
	out := []string{}
	for _, v := range s {
		t, ok := v.(scalar)
		if !ok {
			r.wrong(key, "a list of strings")
			return nil
		}
		out = append(out, t.text)
	}
	return out
}

// plain turns a value into what encoding/json writes as the same value.
func plain(v any) any {
	switch v := v.(type) {
	case mapping:
		m := map[string]any{}
		for _, p := range v {
			m[p.raw] = plain(p.value)
		}
		return m
	case sequence:
		s := []any{}
		for _, e := range v {
			s = append(s, plain(e))
		}
		return s
	case scalar:
		switch v.tag {
		case "!!bool":
			if b, ok := yamlBool(v.text); ok {
				return b
			}
		case "!!int", "!!float":
			if json.Valid([]byte(v.text)) {
				return json.Number(v.text)
			}
		}
		return v.text
	}
	return nil
}

// inApplication names the app that the problems are of.
func inApplication(index int, name string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	where := fmt.Sprintf("For application '%s': ", name)
	if name == "" {
		where = fmt.Sprintf("For application at index %d: ", index)
	}
	return &platform.Error{Kind: platform.KindInvalid, Msg: where + strings.Join(problems, ", ")}
}
