package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
)

// Query selects, orders and pages the rows of a list. The zero value is all
// rows in order of creation.
type Query struct {
	// In keeps rows whose property has one of the values. The keys are those of
	// the v3 API: "names", "guids", "app_guids", "states" … A key that is
	// present always filters: with no values it matches nothing, with "" the
	// empty string. A key the resource does not know is a KindBadRequest error.
	In map[string][]string
	// NotIn keeps rows whose property has none of the values.
	NotIn map[string][]string
	// Labels are conditions that must all hold.
	Labels []platform.LabelRequirement
	// Created and Updated bound the two times of a row; see TimeFilter.
	Created, Updated []TimeFilter
	// OrderBy is "created_at" (the default), "updated_at" or a key of the
	// resource such as "name". Rows that tie stay in order of insertion.
	OrderBy string
	Desc    bool
	// Page counts from 1; PerPage 0 means all rows on one page.
	Page, PerPage int
}

// TimeFilter compares a time of a row with Time. Op is "gt", "lt", "gte",
// "lte" or "eq"; "" is "eq". Of several "eq" one must hold, of the others all.
//
// The API shows whole seconds, so a Time without a fraction stands for its
// whole second: "eq" matches anything within, "gt" begins with the next one.
type TimeFilter struct {
	Op   string
	Time time.Time
}

// filter is how one key of Query.In becomes SQL.
type filter struct {
	// sql is an expression over the row t that is compared with the values, or
	// a condition in which {in} stands for the comparison.
	sql string
	// like matches parts of the expression, whatever the case.
	like bool
}

// is filters by an expression over the row.
func is(sql string) filter { return filter{sql: sql} }

// contains filters by a part of an expression, ignoring case.
func contains(sql string) filter { return filter{sql: sql, like: true} }

// within filters by a column that is a GUID found by another query, in which
// {in} stands for the comparison with the values.
func within(column, query string) filter {
	return filter{sql: column + " IN (" + query + ")"}
}

// Queries that several resources share for filters by space and organization.
const (
	spacesOfOrg = "SELECT s.guid FROM spaces s WHERE s.organization_guid {in}"
	appsOfSpace = "SELECT a.guid FROM apps a WHERE a.space_guid {in}"
	appsOfOrg   = "SELECT a.guid FROM apps a JOIN spaces s ON s.guid = a.space_guid WHERE s.organization_guid {in}"
)

// maxValues bounds the values of one list query; SQLite takes 32,766.
const maxValues = 30000

// condition writes the SQL that keeps rows matching one of values.
func (f filter) condition(values []string) (string, []any) {
	if len(values) == 0 {
		return "1 = 0", nil
	}
	args := make([]any, 0, len(values))
	if f.like {
		terms := make([]string, len(values))
		for i, v := range values {
			terms[i] = "lower(" + f.sql + `) LIKE ? ESCAPE '\'`
			args = append(args, "%"+likeEscaper.Replace(strings.ToLower(v))+"%")
		}
		return "(" + strings.Join(terms, " OR ") + ")", args
	}
	for _, v := range values {
		args = append(args, v)
	}
	in := "IN (" + placeholders(len(values)) + ")"
	if sql, ok := strings.CutSuffix(f.sql, "{in}"); ok || !strings.Contains(f.sql, "{in}") {
		return strings.TrimSpace(sql) + " " + in, args
	}
	return strings.Replace(f.sql, "{in}", in, 1), args
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// placeholders returns "?, ?, …" for n arguments.
func placeholders(n int) string {
	return strings.TrimSuffix(strings.Repeat("?, ", n), ", ")
}

// where collects the conditions of a query and their arguments.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(sql string, args ...any) {
	w.terms = append(w.terms, sql)
	w.args = append(w.args, args...)
}

// String returns the WHERE clause with a leading space, or nothing.
func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// compile turns q into conditions on a table with these filters.
func (q Query) compile(d *dialect, noun string, filters map[string]filter) (*where, error) {
	w := &where{}
	for _, group := range []struct {
		values map[string][]string
		not    bool
	}{{q.In, false}, {q.NotIn, true}} {
		for _, key := range slices.Sorted(maps.Keys(group.values)) {
			f, ok := filters[key]
			if !ok {
				return nil, badFilter(noun, key, filters)
			}
			sql, args := f.condition(group.values[key])
			if group.not {
				sql = "NOT COALESCE((" + sql + "), FALSE)"
			}
			w.add(sql, args...)
		}
	}
	if err := w.addLabels(d, q.Labels); err != nil {
		return nil, err
	}
	if err := w.addTimes("t.created_at", q.Created); err != nil {
		return nil, err
	}
	if err := w.addTimes("t.updated_at", q.Updated); err != nil {
		return nil, err
	}
	if len(w.args) > maxValues {
		return nil, &platform.Error{
			Kind: platform.KindBadRequest, Title: "BadQueryParameter",
			Msg: fmt.Sprintf("The query parameter is invalid: at most %d values can be asked for at once", maxValues),
		}
	}
	return w, nil
}

func badFilter(noun, key string, filters map[string]filter) error {
	known := slices.Sorted(maps.Keys(filters))
	return &platform.Error{
		Kind: platform.KindBadRequest, Title: "BadQueryParameter",
		Msg: fmt.Sprintf("The query parameter is invalid: Unknown query parameter(s): '%s'. Valid parameters are: '%s'",
			key, strings.Join(known, "', '")),
		Err: fmt.Errorf("store: no filter %q on %s", key, noun),
	}
}

func (w *where) addLabels(d *dialect, reqs []platform.LabelRequirement) error {
	for _, r := range reqs {
		value := d.jsonField("t.labels")
		switch r.Op {
		case platform.LabelIn, platform.LabelNotIn:
			sql := "1 = 0"
			args := []any{r.Key}
			if len(r.Values) > 0 {
				sql = value + " IN (" + placeholders(len(r.Values)) + ")"
				for _, v := range r.Values {
					args = append(args, v)
				}
			} else {
				args = nil
			}
			if r.Op == platform.LabelNotIn {
				sql = "NOT COALESCE((" + sql + "), FALSE)"
			}
			w.add(sql, args...)
		case platform.LabelExists:
			w.add(value+" IS NOT NULL", r.Key)
		case platform.LabelNotExists:
			w.add(value+" IS NULL", r.Key)
		default:
			return &platform.Error{
				Kind: platform.KindBadRequest, Title: "BadQueryParameter",
				Msg: fmt.Sprintf("The query parameter is invalid: label selector with unknown operator %q", r.Op),
			}
		}
	}
	return nil
}

func (w *where) addTimes(column string, filters []TimeFilter) error {
	var equal []string
	var equalArgs []any
	for _, f := range filters {
		from := f.Time.UnixMicro()
		next := from + 1
		if f.Time.Nanosecond() == 0 {
			next = f.Time.Add(time.Second).UnixMicro()
		}
		switch f.Op {
		case "gt":
			w.add(column+" >= ?", next)
		case "gte":
			w.add(column+" >= ?", from)
		case "lt":
			w.add(column+" < ?", from)
		case "lte":
			w.add(column+" < ?", next)
		case "eq", "":
			equal = append(equal, column+" >= ? AND "+column+" < ?")
			equalArgs = append(equalArgs, from, next)
		default:
			return &platform.Error{
				Kind: platform.KindBadRequest, Title: "BadQueryParameter",
				Msg: fmt.Sprintf("The query parameter is invalid: unknown comparison %q of a time", f.Op),
			}
		}
	}
	if len(equal) > 0 {
		w.add("("+strings.Join(equal, " OR ")+")", equalArgs...)
	}
	return nil
}

// order returns the ORDER BY and LIMIT clauses of q.
func (q Query) order(orders map[string]string) (string, []any, error) {
	by, ok := orders[q.OrderBy]
	if !ok {
		return "", nil, &platform.Error{
			Kind: platform.KindBadRequest, Title: "BadQueryParameter",
			Msg: fmt.Sprintf("The query parameter is invalid: Order by can only be: '%s'",
				strings.Join(slices.DeleteFunc(slices.Sorted(maps.Keys(orders)), func(s string) bool { return s == "" }), "', '")),
		}
	}
	direction := ""
	if q.Desc {
		direction = " DESC"
	}
	sql := " ORDER BY " + by + direction + ", t.seq" + direction
	if q.PerPage <= 0 {
		return sql, nil, nil
	}
	return sql + " LIMIT ? OFFSET ?", []any{q.PerPage, (max(q.Page, 1) - 1) * q.PerPage}, nil
}
