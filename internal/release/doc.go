// Package release brings a new version of an app to all of its requests in
// steps, and takes it back if it is worse than the one before.
//
//	Start ──▶ rows ──▶ one conductor per rollout:
//
//	          evidence of the router ──▶ judge ─┐
//	          versions, probes, gates, freezes ─┼─▶ decide (pure) ──▶ shares + row
//	          commands of people ───────────────┘        in one transaction
//
// Every transition is one transaction that holds the new shares, the number of
// the route table with them, and the rollout's row, so that a platform that is
// killed at any moment continues where the row says. Evidence is written down
// at least once a second, with how far the router's counters were read: those
// go on counting while nobody reads them.
//
// A step goes on only when its bake time has passed while somebody looked, the
// usage it asks for was seen, the judge has not rejected the candidate, its
// gate is open and no freeze forbids it. Silence is never consent.
package release
