// Package client is a typed client of weir's API, which is Cloud Foundry's
// v3 API with a few additions.
//
// A Client is safe for concurrent use. It asks its TokenSource for an access
// token before every call, asks once more when the server refuses the token,
// follows lists to their end, and turns error answers into *Error.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	v3 "weir/api/v3"
)

// Config is what New needs.
type Config struct {
	// URL is the API's base, such as http://127.0.0.1:8181.
	URL string
	// Tokens gives access tokens; nil for calls that need none.
	Tokens TokenSource
	// HTTP sends the requests; nil means a client of New's own. It must not
	// have a Timeout, for logs are followed for hours.
	HTTP *http.Client
	// UserAgent names the program; "weir" if empty.
	UserAgent string
	// Warn is told each warning of the server (header X-Cf-Warnings). May be nil.
	Warn func(string)
	// Trace is told each request and answer, without tokens, for a verbose
	// mode. May be nil. It must not keep or change its arguments.
	Trace func(Exchange)
}

// Exchange is one request and its answer, for Config.Trace. Bodies that are
// streamed are not in it.
type Exchange struct {
	Method, URL string
	Sent        []byte
	Status      int // 0 if there was no answer
	Received    []byte
	Err         error
}

// TokenSource gives access tokens. Session is one.
type TokenSource interface {
	// Token returns an access token. refused, when not empty, is a token the
	// server would not take; another is wanted.
	Token(ctx context.Context, refused string) (string, error)
}

// Client calls one server.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// New returns a client of the server at cfg.URL. It does not connect.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("API address %q is not an http or https URL", cfg.URL)
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "weir"
	}
	hc := cfg.HTTP
	if hc == nil {
		hc = &http.Client{Transport: defaultTransport()}
	}
	return &Client{cfg: cfg, base: u, http: hc}, nil
}

func defaultTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 8
	return t
}

// URL returns the base URL of the server.
func (c *Client) URL() string { return c.base.String() }

// request is one call before it is sent.
type request struct {
	method string
	path   string // with "?…" if it has a query; absolute URLs are taken as they are
	header http.Header
	// body returns a fresh reader of the body, for each try. Nil: no body.
	body func() (io.Reader, error)
	size int64  // of the body; -1 if unknown
	sent []byte // what body returns, for the trace
	// once forbids a second try after a 401.
	once      bool
	anonymous bool // sent without a token
}

func jsonRequest(method, path string, body any) (request, error) {
	r := request{method: method, path: path, header: http.Header{}}
	if body == nil {
		return r, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return r, fmt.Errorf("encoding %s %s: %w", method, path, err)
	}
	r.header.Set("Content-Type", "application/json")
	r.bytes(b)
	return r, nil
}

func (r *request) bytes(b []byte) {
	r.sent, r.size = b, int64(len(b))
	r.body = func() (io.Reader, error) { return bytes.NewReader(b), nil }
}

// do sends a JSON request and decodes the answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, method, path string, body, out any) (*http.Response, error) {
	r, err := jsonRequest(method, path, body)
	if err != nil {
		return nil, err
	}
	return c.decode(ctx, r, out)
}

func (c *Client) get(ctx context.Context, path string, q Query, out any) error {
	_, err := c.do(ctx, http.MethodGet, path+q.suffix(), nil, out)
	return err
}

// decode sends r, reads the whole answer and decodes it into out.
func (c *Client) decode(ctx context.Context, r request, out any) (*http.Response, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.trace(r, resp, b, err)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", r.method, r.path, err)
	}
	if out == nil || len(bytes.TrimSpace(b)) == 0 {
		return resp, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("decoding the answer to %s %s: %w", r.method, r.path, err)
	}
	return resp, nil
}

// send sends r with a token, tries once more when the token is refused, and
// returns the answer if its status is below 400; the caller closes the body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	refused := ""
	for {
		token := ""
		if c.cfg.Tokens != nil && !r.anonymous {
			var err error
			if token, err = c.cfg.Tokens.Token(ctx, refused); err != nil {
				return nil, err
			}
		}
		resp, err := c.roundTrip(ctx, r, token)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 400 {
			return resp, nil
		}
		failure := c.failure(r, resp)
		if resp.StatusCode != http.StatusUnauthorized || token == "" || refused != "" || r.once {
			return nil, failure
		}
		refused = token
	}
}

func (c *Client) roundTrip(ctx context.Context, r request, token string) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		var err error
		if body, err = r.body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.resolve(r.path), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = r.size
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if token != "" {
		req.Header.Set("Authorization", "bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.trace(r, nil, nil, err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, &Unreachable{URL: c.base.String(), Err: err}
	}
	c.warn(resp)
	return resp, nil
}

// resolve makes a URL of a path; a URL stays what it is.
func (c *Client) resolve(path string) string {
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		return path
	}
	return c.base.String() + "/" + strings.TrimLeft(path, "/")
}

func (c *Client) warn(resp *http.Response) {
	if c.cfg.Warn == nil {
		return
	}
	for _, h := range resp.Header.Values("X-Cf-Warnings") {
		for w := range strings.SplitSeq(h, ",") {
			if s, err := url.QueryUnescape(w); err == nil {
				w = s
			}
			if w = strings.TrimSpace(w); w != "" {
				c.cfg.Warn(w)
			}
		}
	}
}

func (c *Client) trace(r request, resp *http.Response, got []byte, err error) {
	if c.cfg.Trace == nil {
		return
	}
	e := Exchange{Method: r.method, URL: c.resolve(r.path), Sent: r.sent, Received: got, Err: err}
	if resp != nil {
		e.Status = resp.StatusCode
	}
	c.cfg.Trace(e)
}

// Raw sends any request with a token, for a curl command. It returns the
// answer whatever its status; the caller closes its body. body may be nil.
func (c *Client) Raw(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	r := request{method: method, path: path, header: header.Clone()}
	if r.header == nil {
		r.header = http.Header{}
	}
	if body != nil {
		r.bytes(body)
		if r.header.Get("Content-Type") == "" {
			r.header.Set("Content-Type", "application/json")
		}
	}
	refused := ""
	for {
		token := ""
		if c.cfg.Tokens != nil && r.header.Get("Authorization") == "" {
			var err error
			if token, err = c.cfg.Tokens.Token(ctx, refused); err != nil {
				return nil, err
			}
		}
		resp, err := c.roundTrip(ctx, r, token)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || token == "" || refused != "" {
			return resp, err
		}
		resp.Body.Close()
		refused = token
	}
}

// Root reads the server's root document; it needs no token.
func (c *Client) Root(ctx context.Context) (v3.Root, error) {
	var root v3.Root
	_, err := c.decode(ctx, request{method: http.MethodGet, path: "/", anonymous: true}, &root)
	return root, err
}

// Info reads what the server says of itself; it needs no token.
func (c *Client) Info(ctx context.Context) (v3.Info, error) {
	var info v3.Info
	_, err := c.decode(ctx, request{method: http.MethodGet, path: "/v3/info", anonymous: true}, &info)
	return info, err
}
