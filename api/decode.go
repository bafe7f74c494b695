package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"weir/internal/platform"
)

// Limits on what a client may send in one piece. Uploads have their own.
const (
	maxBody     = 1 << 20
	maxDepth    = 64
	bodyTimeout = 30 * time.Second
)

// decoder fills a request type from a request, as the tags of its fields say:
//
//	path:"guid"          a part of the path
//	query:"wait"         a query parameter: string, bool, int or *int
//	include:"space,…"    on an includes: what include= may name
//	body:"json"          the body, strictly; with
//	  limit:"16"         of at most so many MB instead of one
//	body:"yaml"          the body as bytes, if its content type is YAML
//	filters:"names,…"    on a list: what it may be filtered by; with
//	  fields:"true"      if sparse fields[…] are tolerated; "*" takes any
//
// Whatever else is in the query is refused, with the list of what is known.
type decoder struct {
	fields []field
	known  []string // names of query parameters
	sparse bool     // fields[…] are tolerated
	any    bool     // all parameters are
}

type field struct {
	index []int
	from  string // path, query, include, body, list
	name  string // or the content type, or the names allowed
	limit int64  // of the body
}

func newDecoder[T any]() *decoder {
	d := &decoder{}
	t := reflect.TypeFor[T]()
	for f := range t.Fields() {
		d.add(f)
	}
	slices.Sort(d.known)
	return d
}

func (d *decoder) add(f reflect.StructField) {
	for _, from := range []string{"path", "query", "include", "body", "filters"} {
		name, ok := f.Tag.Lookup(from)
		if !ok {
			continue
		}
		limit := int64(maxBody)
		if mb, err := strconv.Atoi(f.Tag.Get("limit")); err == nil {
			limit = int64(mb) << 20
		}
		d.fields = append(d.fields, field{f.Index, from, name, limit})
		switch from {
		case "query":
			d.known = append(d.known, name)
		case "include":
			d.known = append(d.known, "include")
		case "filters":
			d.known = append(d.known, listParameters(name)...)
			d.sparse, d.any = f.Tag.Get("fields") != "", name == "*"
		}
		return
	}
	panic(fmt.Sprintf("api: field %s of a request says not where it comes from", f.Name))
}

func (d *decoder) decode(c *gin.Context, into any) error {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return badQuery("the query cannot be read")
	}
	if err := d.refuseUnknown(query); err != nil {
		return err
	}
	v := reflect.ValueOf(into).Elem()
	for _, f := range d.fields {
		target := v.FieldByIndex(f.index)
		switch f.from {
		case "path":
			target.SetString(c.Param(f.name))
		case "query":
			err = setScalar(target, f.name, query)
		case "include":
			err = target.Addr().Interface().(*includes).parse(query, f.name)
		case "filters":
			err = target.Addr().Interface().(*list).parse(query, f.name)
		case "body":
			if f.name == "yaml" {
				err = readYAML(c, f.limit, target.Addr().Interface().(*[]byte))
				break
			}
			err = readJSON(c, f.limit, target.Addr().Interface())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) refuseUnknown(query url.Values) error {
	if d.any {
		return nil
	}
	var unknown []string
	for name := range query {
		if !slices.Contains(d.known, name) && !(d.sparse && strings.HasPrefix(name, "fields[")) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	valid := "There are none."
	if len(d.known) > 0 {
		valid = "Valid parameters are: " + quoted(d.known)
	}
	return badQuery("Unknown query parameter(s): " + quoted(unknown) + ". " + valid)
}

func quoted(names []string) string { return "'" + strings.Join(names, "', '") + "'" }

func setScalar(target reflect.Value, name string, query url.Values) error {
	if !query.Has(name) {
		return nil
	}
	text := query.Get(name)
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	switch target.Kind() {
	case reflect.String:
		target.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return badQuery(name + " must be true or false")
		}
		target.SetBool(b)
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return badQuery(name + " must be an integer")
		}
		target.SetInt(n)
	}
	return nil
}

// readBody reads the whole body, but no more than is decent and not for longer
// than that takes.
func readBody(c *gin.Context, limit int64) ([]byte, error) {
	ctl := http.NewResponseController(c.Writer)
	_ = ctl.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every writer has one
	b, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	_ = ctl.SetReadDeadline(time.Time{})
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &platform.Error{
			Kind: platform.KindTooLarge,
			Msg:  fmt.Sprintf("the request body is larger than %d MB", limit>>20),
		}
	}
	if err != nil {
		return nil, parseError("the body could not be read")
	}
	return b, nil
}

// readYAML reads a manifest.
func readYAML(c *gin.Context, limit int64, into *[]byte) (err error) {
	if !strings.Contains(c.ContentType(), "yaml") {
		return &platform.Error{Kind: platform.KindBadRequest, Msg: "Content-Type must be yaml"}
	}
	*into, err = readBody(c, limit)
	return err
}

// readJSON decodes the body into the struct that into points to. Each key must
// be one of its fields, spelled so and given once, and hold what the field
// holds; null is always accepted. No body is an empty object.
func readJSON(c *gin.Context, limit int64, into any) error {
	b, err := readBody(c, limit)
	if err != nil {
		return err
	}
	return decodeJSON(b, into)
}

func decodeJSON(b []byte, into any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	chk := &checker{dec: json.NewDecoder(bytes.NewReader(b)), members: map[reflect.Type]map[string]reflect.Type{}}
	chk.dec.UseNumber()
	if err := chk.value(reflect.TypeOf(into).Elem(), "", 0); err != nil {
		return err
	}
	if _, err := chk.dec.Token(); !errors.Is(err, io.EOF) {
		return parseError("there is something after the end of the JSON value")
	}
	if err := chk.verdict(); err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return parseError(err.Error())
	}
	return nil
}

// checker compares a JSON text with a Go type and notes what does not fit.
type checker struct {
	dec      *json.Decoder
	members  map[reflect.Type]map[string]reflect.Type
	unknown  []string
	problems []string
}

func (k *checker) verdict() error {
	if len(k.unknown) > 0 {
		k.problems = append([]string{"Unknown field(s): " + quoted(k.unknown)}, k.problems...)
	}
	if len(k.problems) == 0 {
		return nil
	}
	return &platform.Error{Kind: platform.KindInvalid, Msg: strings.Join(k.problems, ", ")}
}

// value reads one value, which should fit t. A nil t takes anything.
func (k *checker) value(t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return parseError(fmt.Sprintf("the JSON is nested more than %d deep", maxDepth))
	}
	token, err := k.dec.Token()
	if err != nil {
		return k.syntax(err)
	}
	t = known(t)
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return k.object(t, path, depth)
		}
		return k.array(t, path, depth)
	case string:
		k.expect(t, path, reflect.String)
	case bool:
		k.expect(t, path, reflect.Bool)
	case json.Number:
		k.number(t, path, token)
	}
	return nil
}

func (k *checker) syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return parseError("the JSON ends too early")
	}
	return parseError(strings.TrimPrefix(err.Error(), "json: "))
}

func (k *checker) object(t reflect.Type, path string, depth int) error {
	k.expect(t, path, reflect.Struct, reflect.Map)
	seen := map[string]bool{}
	for k.dec.More() {
		token, err := k.dec.Token()
		if err != nil {
			return k.syntax(err)
		}
		name := token.(string)
		if seen[name] {
			return parseError("the key '" + join(path, name) + "' is given twice")
		}
		seen[name] = true
		if err := k.value(k.member(t, path, name), join(path, name), depth+1); err != nil {
			return err
		}
	}
	if _, err := k.dec.Token(); err != nil {
		return k.syntax(err)
	}
	return nil
}

// member returns the type of a key's value.
func (k *checker) member(t reflect.Type, path, name string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Map:
		return t.Elem()
	case t.Kind() != reflect.Struct:
		return nil
	}
	if f, ok := k.membersOf(t)[name]; ok {
		return f
	}
	k.unknown = append(k.unknown, join(path, name))
	return nil
}

// membersOf returns the types of a struct's fields by their JSON names.
func (k *checker) membersOf(t reflect.Type) map[string]reflect.Type {
	if m := k.members[t]; m != nil {
		return m
	}
	m := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			m[name] = f.Type
		}
	}
	k.members[t] = m
	return m
}

func (k *checker) array(t reflect.Type, path string, depth int) error {
	k.expect(t, path, reflect.Slice)
	var elem reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		elem = t.Elem()
	}
	for i := 0; k.dec.More(); i++ {
		if err := k.value(elem, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
			return err
		}
	}
	if _, err := k.dec.Token(); err != nil {
		return k.syntax(err)
	}
	return nil
}

func (k *checker) number(t reflect.Type, path string, n json.Number) {
	k.expect(t, path, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64)
	if t == nil || t.Kind() != reflect.Int && t.Kind() != reflect.Int64 && t.Kind() != reflect.Uint64 {
		return
	}
	switch i, err := n.Int64(); {
	case err != nil:
		k.problems = append(k.problems, path+" must be an integer")
	case i < 0 && t.Kind() == reflect.Uint64:
		k.problems = append(k.problems, path+" must not be negative")
	}
}

// expect notes that a value's kind is none of those given.
func (k *checker) expect(t reflect.Type, path string, kinds ...reflect.Kind) {
	if t == nil || slices.Contains(kinds, t.Kind()) {
		return
	}
	if path == "" {
		path = "the body"
	}
	k.problems = append(k.problems, path+" must be "+kindName(t.Kind()))
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "an integer"
	case reflect.Slice:
		return "a list"
	case reflect.Float64:
		return "a number"
	}
	return "an object"
}

// known returns the type a value is compared with: without pointers, the
// inner type of a v3.Null, and nil for what takes anything.
func known(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil, t.Kind() == reflect.Interface, t == reflect.TypeFor[json.RawMessage]():
		return nil
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Null["):
		f, _ := t.FieldByName("Value")
		return known(f.Type)
	}
	return t
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
