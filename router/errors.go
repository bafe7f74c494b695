package router

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// reason says why a request did not go well. The set is closed: reasons are
// labels of metrics.
type reason uint8

const (
	reasonNone reason = iota
	reasonUnknownRoute
	reasonEmptyHost
	reasonBadRequest
	reasonBadAppInstance
	reasonBadProcessInstance
	reasonUnknownInstance
	reasonMethod
	reasonHeadTooLarge
	reasonURITooLong
	reasonVersion
	reasonTransferCoding
	reasonExpectation
	reasonBodyStalled
	reasonNoEndpoints
	reasonUnreachable
	reasonClosed
	reasonBadResponse
	reasonTimeout
	reasonClientGone
	reasonTruncated
	reasonStopping
	reasonUnknownVersion
	reasonMoved
	reasonMovedKeepMethod
	reasonUnauthorized
	reasonForbidden
	reasonBodyTooLarge
	reasonRateLimited
	reasonPaused
	reasonMaintenance
	reasonInternal
	reasonMisdirected
	reasonCount
)

// reasons holds for each reason its name in metrics, the value of
// X-Cf-RouterError, the status and what a person reads. No text ever holds an
// address or an error of the inside.
var reasons = [reasonCount]struct {
	name, code string
	status     int
	text       string
}{
	reasonNone:               {"none", "", 0, ""},
	reasonUnknownRoute:       {"unknown_route", "unknown_route", 404, ""},
	reasonEmptyHost:          {"empty_host", "empty_host", 400, "Request had empty Host header"},
	reasonBadRequest:         {"bad_request", "bad_request", 400, "The request is malformed or ambiguous."},
	reasonBadAppInstance:     {"invalid_cf_app_instance_header", "invalid_cf_app_instance_header", 400, "Invalid X-CF-App-Instance Header"},
	reasonBadProcessInstance: {"invalid_cf_process_instance_header", "invalid_cf_process_instance_header", 400, "Invalid X-CF-Process-Instance Header"},
	reasonUnknownInstance:    {"unknown_instance", "unknown_route", 404, "Requested instance does not exist for this route."},
	reasonMethod:             {"method_not_allowed", "method_not_allowed", 405, "CONNECT is not served here."},
	reasonHeadTooLarge:       {"head_too_large", "head_too_large", 431, "The request head is too large."},
	reasonURITooLong:         {"uri_too_long", "uri_too_long", 414, "The request target is too long."},
	reasonVersion:            {"version_not_supported", "version_not_supported", 505, "This version of HTTP is not served here."},
	reasonTransferCoding:     {"transfer_coding", "transfer_coding", 501, "This transfer coding is not understood."},
	reasonExpectation:        {"expectation_failed", "expectation_failed", 417, "What the request expects is not offered here."},
	reasonBodyStalled:        {"body_stalled", "body_stalled", 408, "The request body did not arrive in time."},
	reasonNoEndpoints:        {"no_endpoints", "no_endpoints", 503, "Requested route has no available endpoints."},
	reasonUnreachable:        {"endpoint_unreachable", "endpoint_failure", 502, "The app could not be reached."},
	reasonClosed:             {"endpoint_closed", "endpoint_failure", 502, "The app closed the connection without an answer."},
	reasonBadResponse:        {"bad_response", "endpoint_failure", 502, "The app gave an answer that is not valid HTTP."},
	reasonTimeout:            {"timeout", "timeout", 504, "The app did not answer in time."},
	reasonClientGone:         {"client_gone", "client_gone", 499, ""},
	reasonTruncated:          {"response_truncated", "response_truncated", 502, ""},
	reasonStopping:           {"stopping", "stopping", 503, "The router is about to restart."},
	reasonUnknownVersion:     {"unknown_version", "unknown_route", 404, "Requested version does not exist for this route."},
	reasonMoved:              {"moved", "", 301, "The page is at another address."},
	reasonMovedKeepMethod:    {"moved_keep_method", "", 308, "The page is at another address."},
	reasonUnauthorized:       {"unauthorized", "unauthorized", 401, "A user name and a password are needed."},
	reasonForbidden:          {"forbidden", "forbidden", 403, "This address may not be used from where you are."},
	reasonBodyTooLarge:       {"body_too_large", "body_too_large", 413, "The request body is too large."},
	reasonRateLimited:        {"rate_limited", "rate_limited", 429, "Too many requests. Please try again in a moment."},
	reasonPaused:             {"paused", "paused", 503, "The app is paused. Please try again in a moment."},
	reasonMaintenance:        {"maintenance", "maintenance", 503, "The app is being maintained. Please come back later."},
	reasonInternal:           {"internal", "internal", 500, "The router failed."},
	reasonMisdirected:        {"misdirected", "misdirected", 421, "This connection was made for another host."},
}

// herokuCodes are the codes Heroku's router has for the same: people and tools
// know them.
var herokuCodes = map[string]string{
	"endpoint_unreachable": "H21", "endpoint_closed": "H13", "bad_response": "H17", "timeout": "H12",
	"response_truncated": "H18", "no_endpoints": "H14", "client_gone": "H27", "body_stalled": "H28",
	"paused": "H11", "maintenance": "H80", "stopping": "H99", "internal": "H99",
}

func (r reason) String() string { return reasons[r].name }

// closes reports whether a connection whose request failed for this reason
// must not carry another one.
func (r reason) closes() bool {
	switch r {
	case reasonBadRequest, reasonMethod, reasonHeadTooLarge, reasonURITooLong,
		reasonVersion, reasonTransferCoding, reasonExpectation, reasonBodyStalled, reasonEmptyHost:
		return true
	}
	return false
}

// errorText returns the plain text of a failure, in gorouter's form.
func errorText(why reason, host string) string {
	text := reasons[why].text
	if why == reasonUnknownRoute {
		text = "Requested route ('" + host + "') does not exist."
	}
	status := reasons[why].status
	return strconv.Itoa(status) + " " + http.StatusText(status) + ": " + text
}

// errorPage returns the body of a failure and its content type, in the form
// the client prefers.
func errorPage(why reason, host, requestID, accept string) (body, contentType string) {
	status := reasons[why].status
	switch preferredType(accept) {
	case "text/html":
		_, text, _ := strings.Cut(errorText(why, host), ": ")
		title := strconv.Itoa(status) + " " + http.StatusText(status)
		return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title + "</title>" +
			"<meta name=\"viewport\" content=\"width=device-width\"><style>:root{color-scheme:light dark}" +
			"body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;overflow-wrap:anywhere}small{opacity:.7}</style></head>\n" +
			"<body><h1>" + title + "</h1><p>" + html.EscapeString(text) + "</p><small>Request " +
			html.EscapeString(requestID) + "</small></body></html>\n", "text/html; charset=utf-8"
	case "application/json":
		return `{"status":` + strconv.Itoa(status) + `,"code":"` + reasons[why].code +
			`","message":` + strconv.Quote(errorText(why, host)) +
			`,"request_id":"` + requestID + "\"}\n", "application/json"
	}
	return errorText(why, host) + "\n", "text/plain; charset=utf-8"
}

// pageTypes are the types an error can be shown in. A client that likes two as
// well gets the first.
var pageTypes = [...]string{"text/plain", "application/json", "text/html"}

// preferredType returns which of pageTypes a client likes best, as RFC 9110,
// 12.5.1 weighs them; of those it likes as well the one it names, or names
// first. One that wants none of them gets text.
func preferredType(accept string) string {
	best, liked := pageTypes[0], liking{}
	for _, typ := range pageTypes {
		if l := likingOf(accept, typ); l.q > liked.q || l.q == liked.q && l.q > 0 &&
			(l.exact > liked.exact || l.exact == liked.exact && l.at < liked.at) {
			best, liked = typ, l
		}
	}
	return best
}

// liking is what an Accept field says of a type.
type liking struct {
	q     float64
	exact int // 1: by */*, 2: by its family, 3: by name
	at    int // where in the field
}

// likingOf returns what the range that fits a type best says of it.
func likingOf(accept, typ string) (l liking) {
	family, _, _ := strings.Cut(typ, "/")
	at := 0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		exact := 0
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == typ, name == "application/xhtml+xml" && typ == "text/html":
			exact = 3
		case name == family+"/*":
			exact = 2
		case name == "*/*":
			exact = 1
		}
		if exact > l.exact {
			l = liking{quality(params), exact, at}
		}
		at++
	}
	return l
}

// quality returns the weight among the parameters of a member of an Accept
// field or its like: 1 if there is none, or none that can be read.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}

// errorPage returns the answer to a request that the router itself answers,
// in the form the client prefers; the route's own page if it has one.
func (t *trip) errorPage(why reason, accept string) (status int, body, contentType string) {
	status = reasons[why].status
	if why == reasonMoved || why == reasonMovedKeepMethod {
		return status, "", ""
	}
	if page := t.ownPage(why, status); page != "" && preferredType(accept) != "application/json" {
		_, text, _ := strings.Cut(errorText(why, t.ask.host), ": ")
		fill := strings.NewReplacer("{{status}}", strconv.Itoa(status), "{{message}}", html.EscapeString(text),
			"{{request_id}}", html.EscapeString(t.rec.requestID))
		return status, fill.Replace(page), "text/html; charset=utf-8"
	}
	body, contentType = errorPage(why, t.ask.host, t.rec.requestID, accept)
	return status, body, contentType
}

// ownPage returns the route's page for a status, or "".
func (t *trip) ownPage(why reason, status int) string {
	if t.rt == nil || t.rt.rules == nil {
		return ""
	}
	r := t.rt.rules
	if why == reasonMaintenance && r.maintenance != nil && r.maintenance.page != "" {
		return r.maintenance.page
	}
	if page := r.pages[status]; page != "" || status < 500 {
		return page
	}
	return r.pages[0]
}

// addPage takes up an option that begins with OptionErrorPage.
func (r *rules) addPage(name, page string) error {
	status := 0
	if name != OptionErrorPage {
		n, err := strconv.Atoi(name[len(OptionErrorPage)+1:])
		if err != nil || n < 400 || n > 599 {
			return errors.New("must end in a status from 400 to 599")
		}
		status = n
	}
	if len(page) > maxPage {
		return fmt.Errorf("is longer than %d bytes", maxPage)
	}
	if r.pages == nil {
		r.pages = map[int]string{}
	}
	r.pages[status] = page
	return nil
}

// statusText names a status, those included that only logs know.
func statusText(status int) string {
	if status == 499 {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}
