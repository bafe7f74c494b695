package runner

import (
	"errors"
	"time"

	"weir/internal/platform"
)

// Op is what a client asks of the keeper.
type Op string

// The operations. Each has a connection to the keeper's socket for itself: a
// Request goes in as one JSON value, a Reply comes back. Two say more:
//
//	OpStart  Request{Spec} → Reply{Status} with the endpoint, reserved
//	         Request{Op: OpRun, Env} → Reply{Status}, running
//	OpWatch  Request → Reply{}, then one Reply{Event} after the other
//
// A client that goes away between OpStart and OpRun gives the place back.
const (
	OpStart  Op = "start"
	OpRun    Op = "run"
	OpStop   Op = "stop"
	OpRemove Op = "remove"
	OpList   Op = "list"
	OpWatch  Op = "watch"
	OpStats  Op = "stats"
	// OpBackground is Runner.SetBackground.
	OpBackground Op = "background"
	// OpReplace starts the keeper's own children anew, from the program that is
	// now at its path; the Reply comes when they have taken over.
	OpReplace Op = "replace"
)

// Request is what goes to the keeper.
type Request struct {
	Op    Op
	GUID  string        `json:",omitempty"` // OpStop, OpRemove, OpStats, OpBackground
	Spec  *Spec         `json:",omitempty"` // OpStart
	Env   []string      `json:",omitempty"` // OpRun
	Grace time.Duration `json:",omitempty"` // OpStop
	// On is OpBackground's.
	On bool `json:",omitempty"`
}

// Reply is what comes back.
type Reply struct {
	Error  *ReplyError `json:",omitempty"`
	Status *Status     `json:",omitempty"`
	List   []Status    `json:",omitempty"`
	Stats  *Stats      `json:",omitempty"`
	Event  *Event      `json:",omitempty"`
}

// ReplyError is a platform.Error on its way.
type ReplyError struct {
	Kind             platform.Kind
	Title, Msg, Hint string
	Cause            string
}

// NewReplyError makes any error fit to be sent.
func NewReplyError(err error) *ReplyError {
	e, ok := errors.AsType[*platform.Error](err)
	if !ok {
		return &ReplyError{Kind: platform.KindInternal, Msg: "the keeper failed", Cause: err.Error()}
	}
	r := &ReplyError{Kind: e.Kind, Title: e.Title, Msg: e.Msg, Hint: e.Hint}
	if e.Err != nil {
		r.Cause = e.Err.Error()
	}
	return r
}

// Err returns the error that was sent, nil if there was none.
func (r *ReplyError) Err() error {
	if r == nil {
		return nil
	}
	e := &platform.Error{Kind: r.Kind, Title: r.Title, Msg: r.Msg, Hint: r.Hint}
	if r.Cause != "" {
		e.Err = errors.New(r.Cause)
	}
	return e
}
