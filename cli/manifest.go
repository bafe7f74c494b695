package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// manifest is a manifest.yml: variables filled in, anchors and merge keys
// resolved. It is kept as YAML nodes so that values reach the server as they
// were written: a version of 1.10 does not become 1.1, nor "on" true.
type manifest struct {
	path string // "" for one that was made of flags alone
	apps []*manifestApp
}

// manifestApp is one entry of applications.
type manifestApp struct{ node *yaml.Node }

// manifestError names the manifest in an error.
func manifestError(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return &failure{exit: exitFailed, code: "invalid", msg: path + ": " + text, hint: hintOf(err, ""), err: err}
}

// parseManifest reads a manifest. vars are the values of ((name)).
func parseManifest(path string, data []byte, vars variables) (*manifest, error) {
	root, err := parseYAML(data)
	if err != nil {
		return nil, manifestError(path, err)
	}
	if err := vars.fill(root); err != nil {
		return nil, manifestError(path, err)
	}
	if root.Kind != yaml.MappingNode {
		return nil, manifestError(path, withHint(errors.New("it is not a list of keys"), "it begins with applications:"))
	}
	list := lookup(root, "applications")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return nil, manifestError(path, withHint(errors.New("it has no applications"), "write applications: with a list of apps below it"))
	}
	m := &manifest{path: path}
	seen := map[string]bool{}
	for i, n := range list.Content {
		if n.Kind != yaml.MappingNode {
			return nil, manifestError(path, fmt.Errorf("line %d: application %d is not a list of keys", n.Line, i+1))
		}
		app := &manifestApp{n}
		if name := app.name(); name != "" {
			if seen[name] {
				return nil, manifestError(path, fmt.Errorf("line %d: app %q is listed twice", n.Line, name))
			}
			seen[name] = true
		}
		app.tidy()
		m.apps = append(m.apps, app)
	}
	return m, nil
}

// newManifest returns a manifest with one app and no keys but its name.
func newManifest(name string) *manifest {
	app := &manifestApp{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}}
	app.set("name", name)
	return &manifest{apps: []*manifestApp{app}}
}

// encode returns the manifest as the server wants it. path keys stay here.
func (m *manifest) encode() ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, a := range m.apps {
		n := *a.node
		n.Content = append([]*yaml.Node(nil), n.Content...)
		(&manifestApp{&n}).remove("path", "rollout")
		list.Content = append(list.Content, &n)
	}
	var buf bytes.Buffer
	e := yaml.NewEncoder(&buf)
	e.SetIndent(2)
	err := e.Encode(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode("applications"), list}})
	if err == nil {
		err = e.Close()
	}
	return buf.Bytes(), err
}

// names lists the apps by name.
func (m *manifest) names() []string {
	names := make([]string, len(m.apps))
	for i, a := range m.apps {
		names[i] = a.name()
	}
	return names
}

func (a *manifestApp) name() string { return a.text("name") }

// text returns the scalar under a key, or "".
func (a *manifestApp) text(key string) string {
	if n := lookup(a.node, key); n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return n.Value
	}
	return ""
}

func (a *manifestApp) has(key string) bool { return lookup(a.node, key) != nil }

// set puts a value under a key: a string, int, bool, nil, or a list of strings.
func (a *manifestApp) set(key string, value any) {
	n := valueNode(value)
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		if sameKey(a.node.Content[i].Value, key) {
			a.node.Content[i+1] = n
			return
		}
	}
	a.node.Content = append(a.node.Content, textNode(key), n)
}

func (a *manifestApp) remove(keys ...string) {
	for _, key := range keys {
		for i := 0; i+1 < len(a.node.Content); i += 2 {
			if sameKey(a.node.Content[i].Value, key) {
				a.node.Content = append(a.node.Content[:i:i], a.node.Content[i+2:]...)
				break
			}
		}
	}
}

// setEnv adds a variable.
func (a *manifestApp) setEnv(name, value string) {
	env := lookup(a.node, "env")
	if env == nil || env.Kind != yaml.MappingNode {
		env = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		a.remove("env")
		a.node.Content = append(a.node.Content, textNode("env"), env)
	}
	(&manifestApp{env}).setExact(name, textNode(value))
}

func (a *manifestApp) setExact(key string, value *yaml.Node) {
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		if a.node.Content[i].Value == key {
			a.node.Content[i+1] = value
			return
		}
	}
	a.node.Content = append(a.node.Content, textNode(key), value)
}

// web returns the entry that holds the keys of the web process: the one in
// processes if there is one, else the app itself.
func (a *manifestApp) web() *manifestApp {
	if list := lookup(a.node, "processes"); list != nil && list.Kind == yaml.SequenceNode {
		for _, n := range list.Content {
			if n.Kind == yaml.MappingNode && (&manifestApp{n}).text("type") == "web" {
				return &manifestApp{n}
			}
		}
	}
	return a
}

// tidy makes the few values plain that YAML 1.1, which cf reads, and YAML 1.2
// take differently: switches may be yes and on, and env values are text.
func (a *manifestApp) tidy() {
	for _, key := range []string{"no-route", "random-route", "default-route"} {
		if n := lookup(a.node, key); n != nil {
			plainBool(n)
		}
	}
	if n := lookup(a.node, "features"); n != nil && n.Kind == yaml.MappingNode {
		for i := 1; i < len(n.Content); i += 2 {
			plainBool(n.Content[i])
		}
	}
	if n := lookup(a.node, "env"); n != nil && n.Kind == yaml.MappingNode {
		for i := 1; i < len(n.Content); i += 2 {
			if v := n.Content[i]; v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
				n.Content[i] = textNode(v.Value)
			}
		}
	}
}

func plainBool(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		return
	}
	switch strings.ToLower(n.Value) {
	case "y", "yes", "on", "true":
		*n = *valueNode(true)
	case "n", "no", "off", "false":
		*n = *valueNode(false)
	}
}

// lookup returns the value under a key of a mapping, or nil. Dashes and
// underscores in keys are the same.
func lookup(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if sameKey(m.Content[i].Value, key) {
			return m.Content[i+1]
		}
	}
	return nil
}

func sameKey(a, b string) bool {
	return strings.ReplaceAll(a, "_", "-") == strings.ReplaceAll(b, "_", "-")
}

// textNode returns a text, quoted if YAML 1.1 would take it for a switch.
func textNode(s string) *yaml.Node {
	var n yaml.Node
	n.SetString(s)
	switch strings.ToLower(s) {
	case "y", "yes", "on", "n", "no", "off":
		n.Style = yaml.DoubleQuotedStyle
	}
	return &n
}

func valueNode(value any) *yaml.Node {
	if s, ok := value.(string); ok {
		return textNode(s)
	}
	var n yaml.Node
	if err := n.Encode(value); err != nil {
		return textNode(fmt.Sprint(value)) // of the types used here, none fails
	}
	return &n
}

// parseYAML reads one document and resolves anchors and merge keys.
func parseYAML(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err == io.EOF {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(&more); err != io.EOF {
		if err == nil {
			err = errors.New("it holds more than one document")
		}
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("it is empty")
	}
	x := expander{budget: maxNodes}
	return x.expand(doc.Content[0], 0)
}

// Limits of what a manifest may grow to: aliases of aliases multiply.
const (
	maxNodes = 100_000
	maxDepth = 100
)

// expander copies a tree of nodes without aliases and merge keys.
type expander struct{ budget int }

func (x *expander) expand(n *yaml.Node, depth int) (*yaml.Node, error) {
	if x.budget--; x.budget < 0 || depth > maxDepth {
		return nil, fmt.Errorf("line %d: aliases make it too large", n.Line)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return x.expand(n.Alias, depth+1)
	case yaml.MappingNode:
		return x.mapping(n, depth)
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	for _, e := range n.Content {
		e, err := x.expand(e, depth+1)
		if err != nil {
			return nil, err
		}
		c.Content = append(c.Content, e)
	}
	return c, nil
}

func (x *expander) mapping(n *yaml.Node, depth int) (*yaml.Node, error) {
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Line: n.Line, Column: n.Column}
	own := map[string]bool{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := x.expand(n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is not plain text", key.Line)
		}
		value, err := x.expand(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if own[key.Value] {
			return nil, fmt.Errorf("line %d: key %q is given twice", key.Line, key.Value)
		}
		own[key.Value] = true
		c.Content = append(c.Content, key, value)
	}
	for _, m := range merged {
		if err := merge(c, m, own); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// merge adds the entries of from, a mapping or a list of them, that into does
// not have.
func merge(into, from *yaml.Node, have map[string]bool) error {
	switch from.Kind {
	case yaml.SequenceNode:
		for _, m := range from.Content {
			if err := merge(into, m, have); err != nil {
				return err
			}
		}
		return nil
	case yaml.MappingNode:
		for i := 0; i+1 < len(from.Content); i += 2 {
			if key := from.Content[i]; !have[key.Value] {
				have[key.Value] = true
				into.Content = append(into.Content, key, from.Content[i+1])
			}
		}
		return nil
	}
	return fmt.Errorf("line %d: << wants keys and values", from.Line)
}
