package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

func TestPresentError(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		want   string // code title detail
	}{
		{platform.NotFound("App"), 404, "10010 CF-ResourceNotFound App not found"},
		{unknownRequest(), 404, "10000 CF-NotFound Unknown request"},
		{platform.Invalidf("no"), 422, "10008 CF-UnprocessableEntity no"},
		{&platform.Error{Kind: platform.KindBadRequest, Msg: "x"}, 400, "1004 CF-BadRequest Bad request: x"},
		{
			&platform.Error{Kind: platform.KindBadRequest, Msg: "Bad request: Cannot stage package whose state is not ready."},
			400, "1004 CF-BadRequest Bad request: Cannot stage package whose state is not ready.",
		},
		{badQuery("x"), 400, "10005 CF-BadQueryParameter The query parameter is invalid: x"},
		{parseError("x"), 400, "1001 CF-MessageParseError Request invalid due to parse error: x"},
		{&platform.Error{Kind: platform.KindConflict, Msg: "x"}, 409, "900409 CF-Conflict x"},
		{&platform.Error{Kind: platform.KindUnauthenticated, Msg: "x"}, 401, "10002 CF-NotAuthenticated x"},
		{&platform.Error{Kind: platform.KindUnauthenticated, Title: "InvalidAuthToken", Msg: "Invalid Auth Token"}, 401, "1000 CF-InvalidAuthToken Invalid Auth Token"},
		{forbidden(), 403, "10003 CF-NotAuthorized You are not authorized to perform the requested action"},
		{&platform.Error{Kind: platform.KindTooLarge, Msg: "x"}, 413, "900413 CF-PayloadTooLarge x"},
		{&platform.Error{Kind: platform.KindExhausted, Msg: "x"}, 507, "900507 CF-InsufficientStorage x"},
		{&platform.Error{Kind: platform.KindUnavailable, Msg: "x"}, 503, "10015 CF-ServiceUnavailable x"},
		{&platform.Error{Kind: platform.KindInvalid, Title: "StagingInProgress", Msg: "x"}, 422, "170017 CF-StagingInProgress x"},
		{&platform.Error{Kind: platform.KindBadRequest, Title: "AppBitsUploadInvalid", Msg: "x"}, 400, "160001 CF-AppBitsUploadInvalid x"},
		{&platform.Error{Kind: platform.KindInvalid, Title: "NoSuchTitle", Msg: "x"}, 422, "10008 CF-UnprocessableEntity x"},
		{&platform.Error{Kind: "odd", Msg: "x"}, 500, "10001 CF-UnknownError x"},
		{fmt.Errorf("wrapping: %w", platform.NotFound("Route")), 404, "10010 CF-ResourceNotFound Route not found"},
		{errors.New("sql: secret"), 500, "10001 CF-UnknownError An unknown error occurred."},
		{context.DeadlineExceeded, 503, "10015 CF-ServiceUnavailable the request was interrupted"},
	} {
		status, errs := presentError(tc.err, "req")
		got := fmt.Sprintf("%d %s %s", errs[0].Code, errs[0].Title, errs[0].Detail)
		if status != tc.status || got != tc.want || len(errs) != 1 {
			t.Errorf("%v: got %d %s, want %d %s", tc.err, status, got, tc.status, tc.want)
		}
	}
}

func TestPresentError_KeepsCausesToItself(t *testing.T) {
	e := &platform.Error{Kind: platform.KindInvalid, Msg: "no", Hint: "do", Err: errors.New("/secret/path")}
	_, errs := presentError(e, "")
	if want := []v3.Error{{Code: 10008, Title: "CF-UnprocessableEntity", Detail: "no", Hint: "do"}}; !cmp.Equal(errs, want) {
		t.Error(cmp.Diff(want, errs))
	}
	_, errs = presentError(errors.New("/secret/path"), "req-1")
	if s := fmt.Sprint(errs); strings.Contains(s, "secret") || !strings.Contains(s, "req-1") {
		t.Errorf("an unexpected error reads %s", s)
	}
}

func TestPresentError_ListsAllThatWereJoined(t *testing.T) {
	status, errs := presentError(errors.Join(platform.Invalidf("one"), platform.Invalidf("two")), "")
	if status != 422 || len(errs) != 2 || errs[1].Detail != "two" {
		t.Errorf("got %d %+v", status, errs)
	}
	if errs := jobErrors(errors.New("x")); len(errs) != 1 {
		t.Errorf("a failed job has %d errors", len(errs))
	}
}
