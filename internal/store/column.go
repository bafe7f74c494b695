package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform"
)

// column ties a column of a table to a field of the row being read or written.
type column struct {
	name string
	// value is a pointer to the field, or one of the wrappers below around
	// such a pointer. It is scanned into, and bound as an argument.
	value any
	// expr makes the column a computed one: read, never written.
	expr string
}

// resource returns the columns of what all resources have in common.
func resource(r *platform.Resource, more ...column) []column {
	return append([]column{
		{name: "guid", value: &r.GUID},
		{name: "created_at", value: stamp{&r.CreatedAt}},
		{name: "updated_at", value: stamp{&r.UpdatedAt}},
		{name: "labels", value: asJSON{&r.Metadata.Labels}},
		{name: "annotations", value: asJSON{&r.Metadata.Annotations}},
	}, more...)
}

// actor returns the columns of who did something.
func actor(prefix string, a *platform.Actor) []column {
	return []column{
		{name: prefix + "_guid", value: &a.GUID},
		{name: prefix + "_name", value: &a.Name},
		{name: prefix + "_type", value: &a.Type},
	}
}

// stamp keeps a time as microseconds since 1970, and the zero time as 0.
type stamp struct{ t *time.Time }

// Value implements driver.Valuer.
func (s stamp) Value() (driver.Value, error) { return micros(*s.t), nil }

// Scan implements sql.Scanner.
func (s stamp) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", src)
	}
	*s.t = time.Time{}
	if n != 0 {
		*s.t = time.UnixMicro(n).UTC()
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// asJSON keeps a map, slice, struct or pointer to one as JSON text. Empty maps
// and slices read back as nil.
type asJSON struct{ field any }

// Value implements driver.Valuer.
func (j asJSON) Value() (driver.Value, error) {
	b, err := json.Marshal(j.field)
	if err != nil {
		return nil, err
	}
	if string(b) == "null" {
		return "{}", nil
	}
	return string(b), nil
}

// Scan implements sql.Scanner.
func (j asJSON) Scan(src any) error { return scanJSON(src, j.field, false) }

// exactJSON is asJSON for values of the user's own making: numbers in an any
// come back as json.Number, digit by digit as they were given.
type exactJSON struct{ field any }

// Value implements driver.Valuer.
func (j exactJSON) Value() (driver.Value, error) { return asJSON(j).Value() }

// Scan implements sql.Scanner.
func (j exactJSON) Scan(src any) error { return scanJSON(src, j.field, true) }

func scanJSON(src, field any, exact bool) error {
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("JSON is stored as %T", src)
	}
	switch text {
	case "", "null", "{}", "[]":
		return nil // fields are zero before a scan
	}
	dec := json.NewDecoder(strings.NewReader(text))
	if exact {
		dec.UseNumber()
	}
	return dec.Decode(field)
}

// optional keeps an empty string as NULL: a reference that may be absent.
type optional struct{ s *string }

// Value implements driver.Valuer.
func (o optional) Value() (driver.Value, error) {
	if *o.s == "" {
		return nil, nil
	}
	return *o.s, nil
}

// Scan implements sql.Scanner.
func (o optional) Scan(src any) error {
	switch s := src.(type) {
	case nil:
		*o.s = ""
	case string:
		*o.s = s
	default:
		return fmt.Errorf("a reference is stored as %T", src)
	}
	return nil
}
