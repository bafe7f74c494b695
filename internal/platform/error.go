package platform

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an Error is; callers branch on it and the
// API turns it into a status and a Cloud Foundry error code.
type Kind string

// The kinds, with the HTTP status the API answers by default.
const (
	KindInvalid         Kind = "invalid"         // 422: understood but refused
	KindBadRequest      Kind = "bad-request"     // 400: not understood
	KindNotFound        Kind = "not-found"       // 404
	KindConflict        Kind = "conflict"        // 409
	KindUnauthenticated Kind = "unauthenticated" // 401
	KindForbidden       Kind = "forbidden"       // 403
	KindTooLarge        Kind = "too-large"       // 413
	KindExhausted       Kind = "exhausted"       // 507: disk, memory, ports
	KindUnavailable     Kind = "unavailable"     // 503: try again
	KindInternal        Kind = "internal"        // 500
)

// Error is a failure a person will read.
type Error struct {
	Kind Kind
	// Title is a Cloud Foundry error title without its "CF-" prefix, such as
	// "StagingInProgress". Empty means the default of the kind.
	Title string
	// Msg says what failed and on which thing: lower case, no period.
	// Where Cloud Foundry clients match on a text, it is that text verbatim.
	Msg string
	// Hint says what to do next. It may be empty.
	Hint string
	// Err is the cause, for the log only; it may hold paths and SQL.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, KindInternal if
// there is none, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// NotFound returns a KindNotFound error with Cloud Foundry's text for what,
// for example NotFound("App") reads "App not found".
func NotFound(what string) *Error {
	return &Error{Kind: KindNotFound, Msg: what + " not found"}
}

// Invalidf returns a KindInvalid error.
func Invalidf(format string, args ...any) *Error {
	return &Error{Kind: KindInvalid, Msg: fmt.Sprintf(format, args...)}
}
