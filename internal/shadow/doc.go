// Package shadow compares what a shadow version answers with what the main
// version answered to the same requests, and says which differences are more
// than noise.
//
// Each compared request has the answer of the main version and that of the
// shadow; some have a third, the main version's to the same request a second
// time. An answer is taken apart into fields: its status, a few header fields,
// and each leaf of a JSON body. Per endpoint and field, those requests count
// for which exactly one of shadow and second main differs from the first; see
// judge.Paired for the test and what it guarantees.
//
// A Report is data and rules, without clock or input and output; Collector
// feeds reports from the router and keeps them.
package shadow
