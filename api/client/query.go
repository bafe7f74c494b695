package client

import (
	"maps"
	"net/url"
	"strconv"
	"strings"
)

// Query is the query part of a request. A nil Query is an empty one, and all
// its methods return a new one:
//
//	client.Query(nil).In("names", "shop").Set("order_by", "-created_at")
type Query url.Values

// In adds a filter that lets pass what matches any of the items. With no
// item, or an empty one, it is still a filter.
func (q Query) In(key string, items ...string) Query {
	escaped := make([]string, len(items))
	for i, s := range items {
		escaped[i] = itemEscaper.Replace(s)
	}
	return q.Set(key, strings.Join(escaped, ","))
}

// itemEscaper keeps commas within an item apart from those between items:
// the server splits at commas, then decodes each item.
var itemEscaper = strings.NewReplacer("%", "%25", ",", "%2C")

// Set sets a parameter to a single value.
func (q Query) Set(key, value string) Query {
	n := maps.Clone(q)
	if n == nil {
		n = Query{}
	}
	n[key] = []string{value}
	return n
}

// PerPage asks for pages of n resources; lists are followed to their end in
// any case.
func (q Query) PerPage(n int) Query { return q.Set("per_page", strconv.Itoa(n)) }

// Newest asks for the newest resource only.
func (q Query) Newest() Query {
	return q.Set("order_by", "-created_at").Set("page", "1").PerPage(1)
}

func (q Query) suffix() string {
	if len(q) == 0 {
		return ""
	}
	return "?" + url.Values(q).Encode()
}
