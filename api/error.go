package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// cfError is how Cloud Foundry writes an error: a status, a number and a title.
type cfError struct {
	status int
	code   int
	title  string // without "CF-"
}

// kinds says what an error of a kind is when it has no title of its own. Codes
// from 900000 are weir's, where Cloud Foundry has none.
var kinds = map[platform.Kind]cfError{
	platform.KindInvalid:         {422, 10008, "UnprocessableEntity"},
	platform.KindBadRequest:      {400, 1004, "BadRequest"},
	platform.KindNotFound:        {404, 10010, "ResourceNotFound"},
	platform.KindConflict:        {409, 900409, "Conflict"},
	platform.KindUnauthenticated: {401, 10002, "NotAuthenticated"},
	platform.KindForbidden:       {403, 10003, "NotAuthorized"},
	platform.KindTooLarge:        {413, 900413, "PayloadTooLarge"},
	platform.KindExhausted:       {507, 900507, "InsufficientStorage"},
	platform.KindUnavailable:     {503, 10015, "ServiceUnavailable"},
	platform.KindInternal:        {500, 10001, "UnknownError"},
}

// titles says what an error with a title is, whatever its kind.
var titles = byTitle([]cfError{
	{401, 1000, "InvalidAuthToken"},
	{400, 1001, "MessageParseError"},
	{400, 1003, "InvalidContentType"},
	{400, 1004, "BadRequest"},
	{404, 10000, "NotFound"},
	{500, 10001, "UnknownError"},
	{500, 10001, "ServerError"},
	{401, 10002, "NotAuthenticated"},
	{403, 10003, "NotAuthorized"},
	{400, 10005, "BadQueryParameter"},
	{403, 10007, "InsufficientScope"},
	{422, 10008, "UnprocessableEntity"},
	{404, 10010, "ResourceNotFound"},
	{429, 10013, "RateLimitExceeded"},
	{503, 10015, "ServiceUnavailable"},
	{403, 10017, "OrgSuspended"},
	{403, 10019, "SpaceSuspended"},
	{422, 10020, "ResourceBeingDeleted"},
	{400, 100005, "AppMemoryQuotaExceeded"},
	{400, 100007, "QuotaInstanceMemoryLimitExceeded"},
	{400, 100008, "QuotaInstanceLimitExceeded"},
	{400, 150004, "PackageBitsAlreadyUploaded"},
	{400, 160001, "AppBitsUploadInvalid"},
	{400, 170001, "StagingError"},
	{400, 170003, "NoAppDetectedError"},
	{400, 170004, "BuildpackCompileFailed"},
	{400, 170005, "BuildpackReleaseFailed"},
	{400, 170006, "NoBuildpacksFound"},
	{504, 170007, "StagingTimeExpired"},
	{400, 170008, "InsufficientResources"},
	{422, 170017, "StagingInProgress"},
	{503, 170020, "TaskWorkersUnavailable"},
	{422, 170021, "InvalidTaskRequest"},
	{503, 200002, "StatsUnavailable"},
	{400, 210003, "RouteHostTaken"},
	{400, 210004, "RoutePathTaken"},
	{400, 210005, "RoutePortTaken"},
	{422, 290000, "BuildpackNameStackLifecycleTaken"},
	{400, 290003, "BuildpackInvalid"},
	{400, 290004, "CustomBuildpacksDisabled"},
	{409, 290005, "BuildpackLocked"},
	{404, 330000, "FeatureFlagNotFound"},
	{403, 330002, "FeatureDisabled"},
	{422, 390011, "BuildpackStacksDontMatch"},
	{422, 390012, "BuildpackStackDoesNotExist"},
	{422, 390013, "BuildpackZipError"},
	{422, 390016, "ScaleDisabledDuringDeployment"},
	{422, 390017, "ProcessUpdateDisabledDuringDeployment"},
	{422, 390024, "StopDisabledDuringDeployment"},
	{422, 900422, "Refused"},
	{413, 900413, "PayloadTooLarge"},
	{507, 900507, "InsufficientStorage"},
})

func byTitle(all []cfError) map[string]cfError {
	m := make(map[string]cfError, len(all))
	for _, e := range all {
		m[e.title] = e
	}
	return m
}

// unknownRequest is the answer to a URL that is none of ours. The cf CLI
// recognises its text.
func unknownRequest() error {
	return &platform.Error{Kind: platform.KindNotFound, Title: "NotFound", Msg: "Unknown request"}
}

func badQuery(msg string) error {
	return &platform.Error{
		Kind: platform.KindBadRequest, Title: "BadQueryParameter",
		Msg: "The query parameter is invalid: " + msg,
	}
}

func parseError(msg string) error {
	return &platform.Error{
		Kind: platform.KindBadRequest, Title: "MessageParseError",
		Msg: "Request invalid due to parse error: " + msg,
	}
}

func forbidden() error {
	return &platform.Error{Kind: platform.KindForbidden, Msg: "You are not authorized to perform the requested action"}
}

// whenMissing says why a request that refers to a missing thing is refused:
// another thing than what the URL names.
func whenMissing(err error, text string) error {
	if platform.KindOf(err) == platform.KindNotFound {
		return &platform.Error{Kind: platform.KindInvalid, Msg: text, Err: err}
	}
	return err
}

// statusClientGone is logged when the client did not wait for the answer.
const statusClientGone = 499

// presentError turns err into an answer. What a person may not see, such as
// the cause of an unexpected error, stays out of it.
func presentError(err error, requestID string) (status int, errs []v3.Error) {
	for _, e := range split(err) {
		s, one := presentOne(e, requestID)
		if status == 0 || s >= 500 && status < 500 {
			status = s
		}
		errs = append(errs, one)
	}
	return status, errs
}

// split takes apart what errors.Join put together, if each part is meant to
// be read.
func split(err error) []error {
	if _, ok := err.(*platform.Error); ok {
		return []error{err}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		if _, ok := e.(*platform.Error); !ok {
			return []error{err}
		}
	}
	return joined.Unwrap()
}

func presentOne(err error, requestID string) (int, v3.Error) {
	e, ok := errors.AsType[*platform.Error](err)
	if !ok {
		e = unexpected(err, requestID)
	}
	cf, ok := titles[e.Title]
	if !ok {
		if cf, ok = kinds[e.Kind]; !ok {
			cf = kinds[platform.KindInternal]
		}
	}
	detail := e.Msg
	if cf.code == 1004 && !strings.HasPrefix(detail, "Bad request: ") {
		detail = "Bad request: " + detail
	}
	return cf.status, v3.Error{Code: cf.code, Title: "CF-" + cf.title, Detail: detail, Hint: e.Hint}
}

// unexpected is what a client hears of an error that was not meant for it.
func unexpected(err error, requestID string) *platform.Error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &platform.Error{
			Kind: platform.KindUnavailable, Msg: "the request was interrupted", Hint: "try again",
		}
	}
	e := &platform.Error{Kind: platform.KindInternal, Msg: "An unknown error occurred."}
	if requestID != "" {
		e.Hint = "look for request " + requestID + " in the server's log"
	}
	return e
}

// ErrStopping is the cause with which a server ends the contexts of requests
// when it is about to stop. Clients that wait ask its successor again.
var ErrStopping = &platform.Error{Kind: platform.KindUnavailable, Msg: "the server is about to restart", Hint: "try again"}

// fail answers with err and leaves it to the access log to write it down.
func (a *API) fail(c *gin.Context, err error) {
	x := exchangeOf(c.Writer)
	x.err = err
	if c.Writer.Written() {
		c.Abort()
		return // too late for an answer: the client sees the body end early
	}
	if ctx := c.Request.Context(); ctx.Err() != nil && errors.Is(err, context.Canceled) {
		stopping, ok := errors.AsType[*platform.Error](context.Cause(ctx))
		if !ok {
			c.AbortWithStatus(statusClientGone)
			return
		}
		err = stopping
	}
	status, errs := presentError(err, x.id)
	if status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="weir"`)
	}
	if status == http.StatusTooManyRequests {
		c.Header("Retry-After", "60")
	}
	writeJSON(c.Writer, status, v3.Errors{Errors: errs})
	c.Abort()
}
