package cli

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// variables are the values of ((name)) in a manifest.
type variables map[string]*yaml.Node

// placeholder is ((name)) or ((name.key)).
var placeholder = regexp.MustCompile(`\(\(([-/._\pL\pN]+)\)\)`)

// loadVariables reads --vars-file and --var; the latter go first, and a later
// file before an earlier one.
func loadVariables(files, pairs []string) (variables, error) {
	vars := variables{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, withHint(usagef("--vars-file %s: %v", path, unwrapPath(err)), "")
		}
		root, err := parseYAML(data)
		if err != nil {
			return nil, manifestError(path, err)
		}
		if root.Kind != yaml.MappingNode {
			return nil, manifestError(path, fmt.Errorf("it is not a list of names and values"))
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			vars[root.Content[i].Value] = root.Content[i+1]
		}
	}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, withHint(usagef("--var %q is not a name and a value", pair), "write --var NAME=VALUE")
		}
		node, err := parseYAML([]byte(value))
		if err != nil || node.Kind != yaml.ScalarNode {
			node = textNode(value)
		}
		vars[name] = node
	}
	return vars, nil
}

// fill replaces the placeholders below n. All that are missing are named at
// once.
func (v variables) fill(n *yaml.Node) error {
	missing := map[string]bool{}
	if err := v.walk(n, missing); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for name := range missing {
		names = append(names, name)
	}
	slices.Sort(names)
	return withHint(fmt.Errorf("no value for ((%s))", strings.Join(names, ")), ((")),
		"give it with --var "+names[0]+"=VALUE or --vars-file FILE")
}

func (v variables) walk(n *yaml.Node, missing map[string]bool) error {
	if n.Kind != yaml.ScalarNode {
		for _, c := range n.Content {
			if err := v.walk(c, missing); err != nil {
				return err
			}
		}
		return nil
	}
	if m := placeholder.FindStringSubmatch(n.Value); m != nil && m[0] == n.Value {
		value := v.find(m[1])
		if value == nil {
			missing[m[1]] = true
			return nil
		}
		line := n.Line
		*n = *clone(value)
		n.Line = line
		return nil
	}
	var err error
	text := placeholder.ReplaceAllStringFunc(n.Value, func(s string) string {
		name := s[2 : len(s)-2]
		switch value := v.find(name); {
		case value == nil:
			missing[name] = true
		case value.Kind != yaml.ScalarNode:
			err = fmt.Errorf("line %d: ((%s)) is not plain text and cannot be part of one", n.Line, name)
		default:
			return value.Value
		}
		return s
	})
	if text != n.Value {
		// What is put together of several values is text, whatever it looks like.
		n.SetString(text)
	}
	return err
}

// find returns the value of name, or of a.b in the mapping a.
func (v variables) find(name string) *yaml.Node {
	if n := v[name]; n != nil {
		return n
	}
	keys := strings.Split(name, ".")
	n := v[keys[0]]
	for _, key := range keys[1:] {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		n = lookup(n, key)
	}
	return n
}

func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for _, e := range n.Content {
		c.Content = append(c.Content, clone(e))
	}
	return &c
}

// unwrapPath drops the operation and the path from a file error.
func unwrapPath(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}
