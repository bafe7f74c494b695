// Package router is weir's data plane: it carries the requests of every app
// from the listeners to the instances, and nothing else.
//
// A Router knows only a numbered route table, handed to it over its control
// API on a unix socket and kept on disk, so that it can be restarted, and can
// outlive the controller, without anybody noticing.
//
// Each request makes one trip, whichever road carries it:
//
//	choose    which route, destination and instance     choice.go, route.go
//	claim     count it in flight, unless the instance left the table
//	exchange  send it, relay the answer                 exchange.go, attempt.go, relay.go
//	release   count it, log it, judge the instance      trip.go, metrics.go
//
// In the middle every head is HTTP/1.1 bytes, parsed once by package wire. The
// roads are fronts of the exchange: front1.go for HTTP/1.1, front2.go for
// HTTP/2, slow.go for what net/http serves. What net/http reads of HTTP/1.1 has passed the guard first.
package router
