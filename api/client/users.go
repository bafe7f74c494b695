package client

import (
	"context"
	"net/http"
	"net/url"

	v3 "weir/api/v3"
)

// Users lists users. Filters: guids, usernames, origins.
func (c *Client) Users(ctx context.Context, q Query) ([]v3.User, error) {
	return List[v3.User](ctx, c, "/v3/users", q)
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, u v3.SCIMUserCreate) (v3.SCIMUser, error) {
	var out v3.SCIMUser
	err := c.secretly(ctx, http.MethodPost, "/Users", u, &out)
	return out, err
}

// UpdateUser changes the role of a user.
func (c *Client) UpdateUser(ctx context.Context, guid string, u v3.UserUpdate) (v3.User, error) {
	var out v3.User
	_, err := c.do(ctx, http.MethodPatch, "/v3/users/"+guid, u, &out)
	return out, err
}

// DeleteUser deletes a user; the answer is a job.
func (c *Client) DeleteUser(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/users/"+guid, nil)
}

// SetPassword gives a user another password; for one's own with the old one.
func (c *Client) SetPassword(ctx context.Context, guid string, p v3.SCIMPassword) error {
	return c.secretly(ctx, http.MethodPut, "/Users/"+url.PathEscape(guid)+"/password", p, nil)
}

// secretly sends what no trace may show.
func (c *Client) secretly(ctx context.Context, method, path string, body, out any) error {
	r, err := jsonRequest(method, path, body)
	if err != nil {
		return err
	}
	r.sent = nil
	_, err = c.decode(ctx, r, out)
	return err
}
