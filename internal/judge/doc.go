// Package judge decides from requests whether a new version of an app is worse
// than the one that serves. It is pure: no clock, no I/O, no goroutine, and no
// allocation for what it is told. What it concludes can be replayed bit by bit
// from a record of what it was told.
//
// # The guarantee
//
// If the candidate is no worse than the stable version, the probability that
// its evidence ever reaches the limit 1/α is at most α: whenever and however
// often somebody looks, for as long as the rollout takes, through changes of
// the share of traffic, and through incidents that hit both versions. Nothing
// is assumed about how often requests fail or how long they take, nor that
// this stays the same. What is assumed is that chance alone decides which
// version a request goes to; requests that were forced to a version must
// therefore not be counted.
//
// # The formula
//
// Let w be the share of requests that were assigned to the candidate when a
// request was, rather than when its answer came. Each request has some
// property x: it failed, or it took so long. If the versions are equally good,
// a request with property x is the candidate's with probability w, whatever x
// is. A hypothesis h says how many times more often the candidate's requests
// have property x than the stable version's, ρ(x). For each request it
// multiplies its likelihood ratio by
//
//	ρ(x) / (1 − w + w ρ(x))   if the request was the candidate's
//	  1  / (1 − w + w ρ(x))   if it was the stable version's
//
// whose expectation under equality is one, so that the ratio, and the mean of
// the ratios of many hypotheses, is a non-negative martingale that begins at
// one. By Ville's inequality it ever reaches 1/α with probability at most α.
//
// For errors x is whether the request failed, and the hypotheses are ρ = 1.25
// to 100 for those that did; those that did not say nothing. With θ = wρ/(1 − w
// + wρ) the factors are θ/w and (1−θ)/(1−w). For latency x is how long the
// request took, and there are two families: slower than a quantile of the
// stable version, ρ(slow) = r and ρ(fast) = (1 − rq)/(1 − q) with q the share
// of the stable version's requests that were slow before; and the logarithm of
// the latency shifted by δ standard deviations, ρ = exp(δz − δ²/2), mixed over
// δ as in a sequential probability ratio test with a normal mixture. The first
// family sees tails, the second shifts.
//
// Custom events are bad events as errors are: answers that the app marks,
// whatever their status, and events that somebody reports who sees more than a
// router does, such as orders that could not be paid. The same formula judges
// them, so the same must hold: chance alone decides whose an event is.
//
// A marked answer belongs to a request, and counts under the share in force when
// that was assigned, each request once. A good candidate marks no more of them
// than the stable version, so each is the candidate's with probability w.
//
// Of a reported event only the moment of the report is known, and the share in
// force then is taken for that of the request. A rollout's shares only grow: the
// one in force then, w₀, was not more than w. The event was the candidate's
// with probability w₀ and multiplies the evidence by
// w₀θ/w + (1−w₀)(1−θ)/(1−w) ≤ 1 in the mean, since θ > w: a late report may hide
// something, but never speaks against a good candidate. What must not happen is
// that when and whether an event is reported depends on the version. Counts of
// one version told before those of the other for the same time would be that:
// the evidence in between is none. So counts belong into one Batch, those of
// both versions together, and only single events may be told as they happen.
//
// Requests that wait for the same thing are alike, too: an instance that stands
// still for a moment makes all those slow that it has, and where clients wait for
// an answer before they ask again, they gather there. So of the requests that
// ended between two looks only few may count as slow, at least two. What is left
// out was the candidate's and slow, and would have spoken against it: the
// evidence is never more than it would be, and the guarantee holds.
//
// Regressions may begin late, when many good requests have spoken for the
// candidate. So every thousand requests and with each step there is an
// occasion k at which the same hypotheses begin once more, with weight v_k,
// Σ v_k = 1; until then they bet nothing and count as one. All of them are
// multiplied by the same factors, so that one number keeps their sum.
//
// Requests of one client are alike. Where a client stays with a version, each
// counts at most one failure and one marked answer, see Clients; what is random is then where the
// client is, and the guarantee holds for clients.
//
// # Source
//
// M. Lindon and A. Malek, Anytime-valid inference for multinomial count data
// (NeurIPS 2022), and the use of it for canaries that they describe. J. Ville's
// inequality is of 1939. Ours is one-sided, with a grid of ratios for a prior.
package judge
