package shadow

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"weir/router"
)

// Bounds of one answer taken apart; a body beyond them is compared as a whole.
const (
	maxFields = 2000 // leaves
	maxDepth  = 64
)

// Names of the fields that are not leaves of a JSON body.
const (
	fieldError  = "error" // true: 5xx, or no answer at all
	fieldStatus = "status"
	fieldBody   = "body"
)

// fields takes an answer apart: the name of each field and its value as text.
func fields(a *router.ShadowAnswer, skip Ignores) map[string]string {
	f := map[string]string{fieldError: strconv.FormatBool(a.Status == 0 || a.Status >= 500)}
	switch {
	case a.Status == 0:
		f[fieldStatus] = a.Error
	default:
		f[fieldStatus] = strconv.Itoa(a.Status)
		for name, values := range a.Header {
			f["header:"+strings.ToLower(name)] = strings.Join(values, ", ")
		}
		body(f, a)
	}
	for name := range f {
		if skip.match(name) {
			delete(f, name)
		}
	}
	return f
}

// body adds the leaves of a JSON body, or the digest of another.
func body(f map[string]string, a *router.ShadowAnswer) {
	if a.Size == 0 && len(a.Body) == 0 {
		return
	}
	kind, _, _ := strings.Cut(contentType(a), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if !a.Truncated && isJSON(kind, a.Body) {
		leaves := map[string]string{}
		if err := flatten(leaves, a.Body); err == nil {
			for name, v := range leaves {
				f[name] = v
			}
			return
		}
	}
	if !a.Truncated && strings.HasPrefix(kind, "text/") {
		text := strings.Join(strings.Fields(string(a.Body)), " ")
		f[fieldBody] = fmt.Sprintf("%d characters of text: %s", len(text), text)
		return
	}
	f[fieldBody] = fmt.Sprintf("%d bytes, sha256 %s", a.Size, hex.EncodeToString(a.SHA256[:8]))
}

func contentType(a *router.ShadowAnswer) string {
	for name, values := range a.Header {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func isJSON(kind string, body []byte) bool {
	if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		return true
	}
	b := bytes.TrimLeft(body, " \t\r\n")
	return kind == "" && len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

var errTooLarge = errors.New("more fields than are compared one by one")

// flatten writes the leaves of a JSON text into out by their path: $.items[0].name.
func flatten(out map[string]string, text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON text")
	}
	return walk(out, "$", v, 0)
}

func walk(out map[string]string, path string, v any, depth int) error {
	if depth > maxDepth || len(out) >= maxFields {
		return errTooLarge
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			out[path] = "{}"
		}
		for key, value := range v {
			if err := walk(out, path+"."+key, value, depth+1); err != nil {
				return err
			}
		}
	case []any:
		out[path+".length"] = strconv.Itoa(len(v))
		ids := identities(v)
		for i, value := range v {
			at := strconv.Itoa(i)
			if ids != nil {
				at = "id=" + ids[i]
			}
			if err := walk(out, path+"["+at+"]", value, depth+1); err != nil {
				return err
			}
		}
	case string:
		out[path] = strconv.Quote(v)
	case nil:
		out[path] = "null"
	default: // json.Number, bool
		out[path] = fmt.Sprint(v)
	}
	return nil
}

// identities returns the "id" of each element if all are objects that have
// one and no two the same: such lists are compared by it, not by position.
func identities(list []any) []string {
	ids := make([]string, len(list))
	seen := make(map[string]bool, len(list))
	for i, v := range list {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		switch id := object["id"].(type) {
		case string:
			ids[i] = id
		case json.Number:
			ids[i] = id.String()
		default:
			return nil
		}
		if seen[ids[i]] {
			return nil
		}
		seen[ids[i]] = true
	}
	return ids
}

// anyIndex replaces the positions and identities of list elements by [*], so
// that all elements of a list are one field of the report.
func anyIndex(path string) string {
	if !strings.HasPrefix(path, "$") || !strings.Contains(path, "[") {
		return path
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(path, "[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, after, ok := strings.Cut(rest, "]")
		if !ok {
			return b.String() + "[" + rest
		}
		b.WriteString("[*]")
		path = after
	}
}
