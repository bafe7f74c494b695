// Package router is weir's data plane: it carries the requests of every app
// from the listeners to the instances, and nothing else.
//
// A Router knows only a numbered route table, handed to it over its control
// API on a unix socket and kept on disk, so that it can be restarted, and can
// outlive the controller, without anybody noticing.
//
// Each request makes one trip, whichever road carries it:
//
//	choose    which route, destination and instance     trip.go, route.go
//	claim     count it in flight, unless the instance left the table
//	exchange  send it, relay the answer                 stdroad.go, stdexchange.go
//	release   count it, log it, judge the instance      trip.go, metrics.go
//
// Choosing, claiming, releasing, the header rules (headers.go), the retry
// rules (retry.go) and the error vocabulary (errors.go) know no net/http
// types beyond http.Header, so that another road can share them.
package router
