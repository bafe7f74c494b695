package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"weir/api/client"
	v3 "weir/api/v3"
	"weir/internal/platform"
)

// The exit codes. Scripts rely on them: they never change their meaning.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitLogin       = 3 // not logged in, or not allowed to
	exitRefused     = 4 // a rule forbids it
	exitConflict    = 5 // something else is going on
	exitRolledBack  = 6 // finished by going back to what ran before
	exitTimedOut    = 7 // gave up waiting; the work goes on
	exitNotFound    = 8
	exitCurl        = 22 // weir curl --fail met a status of 400 or more, as with cf
	exitInterrupted = 130
)

// failure is an error as it is shown.
type failure struct {
	exit      int
	code      string // for programs: "not-found"
	msg       string
	hint      string
	retryable bool
	err       error
}

func (f *failure) Error() string { return f.msg }
func (f *failure) Unwrap() error { return f.err }

func newFailure(exit int, code, msg, hint string) *failure {
	return &failure{exit: exit, code: code, msg: msg, hint: hint}
}

// usagef is a command line that makes no sense.
func usagef(format string, args ...any) *failure {
	return newFailure(exitUsage, "usage", fmt.Sprintf(format, args...), "")
}

func notFound(hint, format string, args ...any) *failure {
	return newFailure(exitNotFound, "not-found", fmt.Sprintf(format, args...), hint)
}

func refusedf(hint, format string, args ...any) *failure {
	return newFailure(exitRefused, "refused", fmt.Sprintf(format, args...), hint)
}

// withHint returns the error with a hint, as a failure.
func withHint(err error, hint string) *failure {
	f := asFailure(err)
	g := *f
	g.hint = hint
	return &g
}

// hintOf returns err's hint, or other if it has none.
func hintOf(err error, other string) string {
	if h := asFailure(err).hint; h != "" {
		return h
	}
	return other
}

// asFailure decides how an error is shown and what the exit code is.
func asFailure(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if errors.Is(err, client.ErrLogin) {
		return &failure{exit: exitLogin, code: "not-logged-in", msg: client.ErrLogin.Error(), hint: "weir login", err: err}
	}
	if e, ok := errors.AsType[*client.Unreachable](err); ok {
		return unreachable(e)
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return answered(e)
	}
	if e, ok := errors.AsType[*client.JobError](err); ok && len(e.Errors) > 0 {
		f := answered(&client.Error{Errors: e.Errors})
		f.err = err
		return f
	}
	if e, ok := errors.AsType[*platform.Error](err); ok {
		return fromPlatform(e, err)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{exit: exitInterrupted, code: "interrupted", msg: "interrupted", err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{exit: exitTimedOut, code: "timed-out", msg: "timed out", err: err, retryable: true}
	case errors.Is(err, fs.ErrNotExist):
		return &failure{exit: exitFailed, code: "not-found", msg: err.Error(), err: err}
	}
	return &failure{exit: exitFailed, code: "failed", msg: err.Error(), err: err}
}

func unreachable(e *client.Unreachable) *failure {
	f := &failure{
		exit: exitFailed, code: "unreachable", retryable: true, err: e,
		msg:  "the server at " + e.URL + " does not answer",
		hint: "is it running? start one on this machine: weir serve; or log in to another: weir login -a URL",
	}
	if text := e.Err.Error(); !strings.Contains(text, "connection refused") {
		f.msg += " (" + text + ")"
	}
	return f
}

// answered turns an error answer of the API into a failure.
func answered(e *client.Error) *failure {
	f := &failure{exit: exitFailed, code: "failed", msg: e.Error(), hint: e.Hint(), err: e}
	switch {
	case e.Status == http.StatusUnauthorized:
		f.exit, f.code = exitLogin, "not-logged-in"
		f.hint = cmp.Or(f.hint, "weir login")
	case e.Status == http.StatusForbidden:
		f.exit, f.code = exitLogin, "forbidden"
		f.hint = cmp.Or(f.hint, "weir target shows who is logged in; an administrator can give more: weir update-user USER --role ROLE")
	case e.Status == http.StatusNotFound:
		f.exit, f.code = exitNotFound, "not-found"
	case e.Title() == v3.TitleRefused:
		f.exit, f.code = exitRefused, "refused"
	case e.Status == http.StatusConflict, e.Title() == "CF-StagingInProgress",
		strings.Contains(e.Detail(), "deployment in progress"), strings.Contains(e.Detail(), "deployment is in flight"):
		f.exit, f.code, f.retryable = exitConflict, "conflict", true
	case e.Status == http.StatusRequestEntityTooLarge:
		f.code = "too-large"
	case e.Status == http.StatusInsufficientStorage:
		f.code = "exhausted"
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable,
		e.Status == http.StatusBadGateway, e.Status == http.StatusGatewayTimeout:
		f.code, f.retryable = "unavailable", true
	case e.Status >= 500:
		f.code = "server-error"
		if e.RequestID != "" {
			f.hint = cmp.Or(f.hint, "the server's log has more, under request "+e.RequestID)
		}
	case e.Status >= 400:
		f.code = "invalid"
	}
	return f
}

func fromPlatform(e *platform.Error, err error) *failure {
	f := &failure{exit: exitFailed, code: string(e.Kind), msg: e.Msg, hint: e.Hint, err: err}
	if e.Err != nil && !strings.Contains(e.Msg, e.Err.Error()) && e.Kind == platform.KindInternal {
		f.msg += ": " + e.Err.Error()
	}
	switch e.Kind {
	case platform.KindNotFound:
		f.exit = exitNotFound
	case platform.KindConflict:
		f.exit, f.retryable = exitConflict, true
	case platform.KindUnauthenticated, platform.KindForbidden:
		f.exit = exitLogin
	case platform.KindUnavailable:
		f.retryable = true
	}
	return f
}
