package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/util/jsonpath"
)

// The output formats.
const (
	formatTable = "table"
	formatWide  = "wide"  // a table with more columns
	formatName  = "name"  // names or ids, one a line, as -q
	formatJSON  = "json"  // one object
	formatJSONL = "jsonl" // an object a line: of a list each element, of long work each step
	formatYAML  = "yaml"
	formatPath  = "jsonpath" // =TEMPLATE, as kubectl has it
)

// formats are those without a value, as they are offered.
var formats = []string{formatTable, formatWide, formatJSON, formatJSONL, formatYAML, formatName}

// apiVersion is part of every result that is for programs. Within it fields are
// added, never renamed or removed.
const apiVersion = "weir/v1"

func isFormat(s string) bool {
	return slices.Contains(formats, s) || s == formatPath || strings.HasPrefix(s, formatPath+"=")
}

// isMachine reports whether a format is for programs: standard error then holds
// nothing but an error, as one JSON object.
func isMachine(format string) bool {
	switch format {
	case formatJSON, formatJSONL, formatYAML, formatPath:
		return true
	}
	return false
}

// parseFormat reads the value of -o.
func parseFormat(s string) (format string, path *jsonpath.JSONPath, err error) {
	if !isFormat(s) {
		return "", nil, withHint(usagef("there is no output format %q", s), "-o "+strings.Join(formats, ", ")+", or "+formatPath+"=TEMPLATE")
	}
	format, template, _ := strings.Cut(s, "=")
	if format != formatPath {
		return format, nil, nil
	}
	const example = `write it as kubectl has it: -o jsonpath='{.apps[*].name}'; -o json shows the keys`
	if template == "" {
		return "", nil, withHint(usagef("-o jsonpath lacks its template"), example)
	}
	if !strings.Contains(template, "{") { // apps[0].name
		template = "{." + strings.TrimLeft(template, "$.") + "}"
	}
	path = jsonpath.New("jsonpath")
	if err := path.Parse(template); err != nil {
		return "", nil, withHint(usagef("the template of -o jsonpath cannot be read: %v", err), example)
	}
	return format, path, nil
}

// encode returns a result as the format asks for it.
func (u *ui) encode(kind string, v any) ([]byte, error) {
	if u.format == formatJSONL {
		return encodeLines(kind, v)
	}
	object, err := encode(kind, v)
	if err != nil {
		return nil, err
	}
	switch u.format {
	case formatYAML:
		return toYAML(object)
	case formatPath:
		return u.pick(object)
	}
	return indented(object)
}

// encode returns v, a struct or a map, as a JSON object in a line that begins
// with apiVersion and kind.
func encode(kind string, v any) ([]byte, error) {
	body, err := marshal(v)
	if err != nil {
		return nil, err
	}
	object := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q`, apiVersion, kind)
	if body = bytes.TrimPrefix(body, []byte("{")); !bytes.Equal(body, []byte("}\n")) {
		object = append(object, ',')
	}
	return append(object, body...), nil
}

func indented(object []byte) ([]byte, error) {
	var out bytes.Buffer
	err := json.Indent(&out, object, "", "  ")
	return out.Bytes(), err
}

// encodeLines writes the elements of a list, or one object, a line each. An
// element of an AppList is an AppListItem.
func encodeLines(kind string, v any) ([]byte, error) {
	list, ok := elements(kind, v)
	if !ok {
		return encode(kind, v)
	}
	var out []byte
	for _, e := range list {
		line, err := encode(kind+"Item", e)
		if err != nil {
			return nil, err
		}
		out = append(out, line...)
	}
	return out, nil
}

// elements returns the elements of what is a list by its kind.
func elements(kind string, v any) (list []json.RawMessage, ok bool) {
	if !strings.HasSuffix(kind, "List") && !strings.HasSuffix(kind, "History") {
		return nil, false
	}
	body, err := marshal(v)
	if err != nil {
		return nil, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil, false
	}
	for _, f := range fields {
		if f[0] == '[' {
			return list, json.Unmarshal(f, &list) == nil
		}
	}
	return nil, false
}

// marshal is json.Marshal without the escapes meant for HTML, and with a line
// feed.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// toYAML writes a JSON object as a YAML document, its keys in the same order.
func toYAML(object []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(object, &doc); err != nil { // JSON is YAML
		return nil, err
	}
	if err := plainStyle(&doc); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := e.Encode(&doc)
	return out.Bytes(), err
}

// plainStyle takes the brackets and quotation marks of JSON from a node, but for
// those that YAML needs.
func plainStyle(n *yaml.Node) error {
	for _, c := range n.Content {
		if err := plainStyle(c); err != nil {
			return err
		}
	}
	switch {
	case n.Kind != yaml.ScalarNode && len(n.Content) > 0:
		n.Style = 0
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		return n.Encode(n.Value) // with the quotation marks of what would be read as something else
	}
	return nil
}

// pick returns what the template of -o jsonpath makes of an object, with a line
// feed at the end.
func (u *ui) pick(object []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := u.path.Execute(&out, numbers(v)); err != nil {
		return nil, withHint(newFailure(exitFailed, "invalid", "-o jsonpath: "+err.Error(), ""), "-o json shows the keys there are")
	}
	if b := out.Bytes(); len(b) > 0 && b[len(b)-1] != '\n' {
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// numbers makes whole numbers int64, which is how they are written and compared,
// and others float64.
func numbers(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			x[k] = numbers(e)
		}
	case []any:
		for i, e := range x {
			x[i] = numbers(e)
		}
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		f, _ := x.Float64()
		return f
	}
	return v
}

// progressLine is a step of long work with -o jsonl.
type progressLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// emit writes one of a stream of objects: in one line, or as a YAML document.
func (u *ui) emit(kind string, v any) error {
	object, err := encode(kind, v)
	if err == nil {
		switch u.format {
		case formatYAML:
			object, err = toYAML(object)
			object = append([]byte("---\n"), object...)
		case formatPath:
			object, err = u.pick(object)
		}
	}
	if err != nil {
		return err
	}
	return u.write(object)
}

// event writes a line of a stream, with -o jsonl alone.
func (u *ui) event(kind, text string) {
	if u.format != formatJSONL {
		return
	}
	_ = u.emit(kind, progressLine{time.Now().UTC(), text}) // the result, written last, says so if nobody reads
}
