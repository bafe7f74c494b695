package client

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
)

// pageSize is asked for when a query does not say, so that most lists take
// one request.
const pageSize = 500

// Page reads one page of the list at path.
func Page[T any](ctx context.Context, c *Client, path string, q Query) (v3.List[T], error) {
	var page v3.List[T]
	err := c.get(ctx, path, q, &page)
	return page, err
}

// List reads the list at path from its first page to its last. If q names a
// page it reads that one only.
func List[T any](ctx context.Context, c *Client, path string, q Query) ([]T, error) {
	all, _, err := listIncluding[T](ctx, c, path, q)
	return all, err
}

// listIncluding is List for requests with include=.
func listIncluding[T any](ctx context.Context, c *Client, path string, q Query) ([]T, v3.Included, error) {
	_, single := q["page"]
	if _, ok := q["per_page"]; !ok {
		q = q.PerPage(pageSize)
	}
	all := []T{}
	var inc v3.Included
	next := path + q.suffix()
	for next != "" {
		var page v3.List[T]
		if _, err := c.do(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, inc, err
		}
		all = append(all, page.Resources...)
		join(&inc, page.Included)
		next = ""
		if page.Pagination.Next != nil && !single {
			next = page.Pagination.Next.Href
		}
	}
	return all, inc, nil
}

func join(into, from *v3.Included) {
	if from == nil {
		return
	}
	into.Users = append(into.Users, from.Users...)
	into.Organizations = append(into.Organizations, from.Organizations...)
	into.Spaces = append(into.Spaces, from.Spaces...)
	into.Domains = append(into.Domains, from.Domains...)
	into.Apps = append(into.Apps, from.Apps...)
	into.Routes = append(into.Routes, from.Routes...)
	into.ServiceInstances = append(into.ServiceInstances, from.ServiceInstances...)
}

// first returns the only resource that matches; ok is false if there is none.
func first[T any](ctx context.Context, c *Client, path string, q Query) (v T, ok bool, err error) {
	page, err := Page[T](ctx, c, path, q.Set("page", "1").PerPage(1))
	if err != nil || len(page.Resources) == 0 {
		return v, false, err
	}
	return page.Resources[0], true, nil
}
