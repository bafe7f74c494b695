package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v3 "weir/api/v3"
	"weir/internal/store"
)

// Limits on pages: their size, and their number, which is multiplied by it.
const (
	defaultPerPage = 50
	maxPerPage     = 5000
	maxPage        = 1_000_000_000
)

// list is the query of a list: which resources, in which order, which page.
type list struct {
	store.Query
	includes
	// embed is the value of embed=, for lists that have it.
	embed  string
	values url.Values // for the links to other pages
}

// paging are the parameters every list takes besides its filters.
var paging = []string{"page", "per_page", "order_by", "label_selector"}

// listParameters returns the query parameters of a list with these filters. A
// filter may be written "name[not]" for its opposite, "include=a|b" for what
// include may name, "embed=a" for what embed may.
func listParameters(filters string) []string {
	names := slices.Clone(paging)
	for _, at := range []string{"created_ats", "updated_ats"} {
		names = append(names, at)
		for _, op := range comparisons {
			names = append(names, at+"["+op+"]")
		}
	}
	for f := range strings.SplitSeq(filters, ",") {
		if f != "" {
			name, _, _ := strings.Cut(f, "=")
			names = append(names, name)
		}
	}
	return names
}

var comparisons = []string{"gt", "lt", "gte", "lte"}

func (l *list) parse(query url.Values, filters string) error {
	l.values = query
	l.In, l.NotIn = map[string][]string{}, map[string][]string{}
	for f := range strings.SplitSeq(filters, ",") {
		name, allowed, _ := strings.Cut(f, "=")
		switch {
		case name == "*":
		case name == "include":
			if err := l.includes.parse(query, strings.ReplaceAll(allowed, "|", ",")); err != nil {
				return err
			}
		case name == "embed":
			if l.embed = query.Get(name); l.embed != "" && l.embed != allowed {
				return badQuery("Invalid embed parameter: '" + l.embed + "'. Valid parameters are: '" + allowed + "'")
			}
		case name != "" && query.Has(name):
			if base, ok := strings.CutSuffix(name, "[not]"); ok {
				l.NotIn[base] = items(query[name])
			} else {
				l.In[name] = items(query[name])
			}
		}
	}
	if err := l.times(query); err != nil {
		return err
	}
	if s := query.Get("label_selector"); s != "" {
		reqs, err := parseLabelSelector(s)
		if err != nil {
			return err
		}
		l.Labels = reqs
	}
	l.OrderBy, l.Desc = strings.CutPrefix(query.Get("order_by"), "-")
	l.OrderBy = strings.TrimPrefix(l.OrderBy, "+")
	return l.pages(query)
}

func (l *list) pages(query url.Values) (err error) {
	if l.Page, err = number(query, "page", 1); err != nil || l.Page < 1 {
		return badQuery("Page must be a positive integer")
	}
	if l.Page > maxPage {
		return badQuery("Page must be at most " + strconv.Itoa(maxPage))
	}
	if l.PerPage, err = number(query, "per_page", defaultPerPage); err != nil || l.PerPage < 1 || l.PerPage > maxPerPage {
		return badQuery("Per page must be between 1 and " + strconv.Itoa(maxPerPage))
	}
	return nil
}

func number(query url.Values, name string, def int) (int, error) {
	if !query.Has(name) {
		return def, nil
	}
	return strconv.Atoi(query.Get(name))
}

func (l *list) times(query url.Values) error {
	for _, at := range []struct {
		name string
		into *[]store.TimeFilter
	}{{"created_ats", &l.Created}, {"updated_ats", &l.Updated}} {
		for _, op := range append([]string{"eq"}, comparisons...) {
			name := at.name
			if op != "eq" {
				name += "[" + op + "]"
			}
			if !query.Has(name) {
				continue
			}
			for _, text := range items(query[name]) {
				t, err := time.Parse(time.RFC3339, text)
				if err != nil {
					return badQuery(name + " has an invalid timestamp: '" + text + "'. Timestamps look like 2006-01-02T15:04:05Z")
				}
				*at.into = append(*at.into, store.TimeFilter{Op: op, Time: t})
			}
		}
	}
	return nil
}

// items splits the values of a filter at commas, then decodes each item once
// more: a comma within an item arrives as %2C. An empty value is one empty
// item, which is a filter too.
func items(values []string) []string {
	var all []string
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if s, err := url.PathUnescape(item); err == nil {
				item = s
			}
			all = append(all, item)
		}
	}
	return all
}

// includes are what include= asks for, in lower case.
type includes []string

func (i *includes) parse(query url.Values, allowed string) error {
	if !query.Has("include") {
		return nil
	}
	valid := strings.Split(allowed, ",")
	for _, name := range items(query["include"]) {
		name = strings.ToLower(name) // go-cfclient writes "Space"
		if name == "" {
			continue
		}
		if !slices.Contains(valid, name) {
			return badQuery("Invalid included resource: '" + name + "'. Valid included resources are: " + quoted(valid))
		}
		*i = append(*i, name)
	}
	return nil
}

func (i includes) has(name string) bool { return slices.Contains(i, name) }

// pageOf presents one page of rows; total counts those of all pages.
func pageOf[P, W any](c call, l list, rows []P, total int, present func(P) W) v3.List[W] {
	out := v3.List[W]{Pagination: c.pagination(l, total), Resources: make([]W, 0, len(rows))}
	for _, r := range rows {
		out.Resources = append(out.Resources, present(r))
	}
	return out
}

// pageOfAll presents a page of a list that was not made by the store.
func pageOfAll[W any](c call, l list, all []W) v3.List[W] {
	from := min((l.Page-1)*l.PerPage, len(all))
	to := min(from+l.PerPage, len(all))
	return pageOf(c, l, all[from:to], len(all), func(w W) W { return w })
}

func (c call) pagination(l list, total int) v3.Pagination {
	pages := max(1, (total+l.PerPage-1)/l.PerPage)
	link := func(page int) *v3.Link {
		q := url.Values{}
		for k, v := range l.values {
			q[k] = v
		}
		q.Set("page", strconv.Itoa(page))
		q.Set("per_page", strconv.Itoa(l.PerPage))
		return c.link(c.request.URL.Path + "?" + q.Encode())
	}
	p := v3.Pagination{TotalResults: total, TotalPages: pages, First: link(1), Last: link(pages)}
	if l.Page < pages {
		p.Next = link(l.Page + 1)
	}
	if l.Page > 1 {
		p.Previous = link(l.Page - 1)
	}
	return p
}
