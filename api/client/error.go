package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	v3 "weir/api/v3"
)

// Error is an answer with a status of 400 or more.
type Error struct {
	Status    int
	Method    string
	Path      string
	RequestID string
	// Errors are the entries of the answer; at least one, made up from the
	// body if the answer was not in Cloud Foundry's form.
	Errors []v3.Error
}

// Error returns the details, one per line.
func (e *Error) Error() string {
	details := make([]string, 0, len(e.Errors))
	for _, x := range e.Errors {
		details = append(details, x.Detail)
	}
	return strings.Join(details, "\n")
}

// Title returns the title of the first entry, with its prefix "CF-".
func (e *Error) Title() string { return e.Errors[0].Title }

// Detail returns the text of the first entry.
func (e *Error) Detail() string { return e.Errors[0].Detail }

// Hint returns the first hint among the entries, or "".
func (e *Error) Hint() string {
	for _, x := range e.Errors {
		if x.Hint != "" {
			return x.Hint
		}
	}
	return ""
}

// Unreachable means that no answer came at all.
type Unreachable struct {
	URL string
	Err error
}

func (u *Unreachable) Error() string { return fmt.Sprintf("no answer from %s: %v", u.URL, u.Err) }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// JobError is a job that failed.
type JobError struct {
	Operation string
	Errors    []v3.Error
}

// Error returns the details, one per line.
func (e *JobError) Error() string {
	if len(e.Errors) == 0 {
		return "job " + e.Operation + " failed"
	}
	return (&Error{Errors: e.Errors}).Error()
}

// IsStatus reports whether err is an answer with the given status.
func IsStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}

// IsNotFound reports whether err says that a thing does not exist.
func IsNotFound(err error) bool { return IsStatus(err, http.StatusNotFound) }

// IsUnauthorized reports whether err says that one has to log in.
func IsUnauthorized(err error) bool {
	return IsStatus(err, http.StatusUnauthorized) || errors.Is(err, ErrLogin)
}

// maxErrorBody bounds what is read of an error answer.
const maxErrorBody = 1 << 20

// failure turns an answer into an *Error and closes its body.
func (c *Client) failure(r request, resp *http.Response) *Error {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	c.trace(r, resp, b, err)
	path, _, _ := strings.Cut(r.path, "?")
	e := &Error{
		Status: resp.StatusCode, Method: r.method, Path: path,
		RequestID: resp.Header.Get("X-Vcap-Request-Id"),
	}
	e.Errors = parseErrors(resp.StatusCode, b)
	return e
}

func parseErrors(status int, body []byte) []v3.Error {
	var cf v3.Errors
	if json.Unmarshal(body, &cf) == nil && len(cf.Errors) > 0 {
		return cf.Errors
	}
	var oauth v3.OAuthError
	if json.Unmarshal(body, &oauth) == nil && oauth.Error != "" {
		return []v3.Error{{Title: oauth.Error, Detail: oauth.Description, Hint: oauth.Hint}}
	}
	text := strings.TrimSpace(string(body))
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	detail := fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
	if text != "" {
		detail += ": " + text
	}
	return []v3.Error{{Detail: detail}}
}
