package router

// maxAttempts is how often a request is sent at most.
const maxAttempts = 3

// smallBody is up to how many bytes a request body is kept for another
// attempt.
const smallBody = 64 << 10

// outcome is what is known about an attempt that brought no answer.
type outcome struct {
	why reason
	// sent: at least one byte of the request may have reached the instance.
	sent bool
	// answered: at least one byte of an answer came back.
	answered bool
	// stale: it went over a connection that had carried requests before, and
	// nothing came back. Such a connection may end at any time; the instance
	// is not to blame.
	stale bool
	// local: it failed for want of something on this side, such as file
	// descriptors; the instance is not to blame.
	local bool
}

// request is what a retry depends on.
type request struct {
	// idempotent: sending it twice does no more than sending it once.
	idempotent bool
	// replayable: its whole body can be sent again; true without a body.
	replayable bool
}

// mayRetry decides whether a request that had the given outcome is tried
// again. attempts counts those made.
func mayRetry(o outcome, q request, attempts int) bool {
	if attempts >= maxAttempts || !q.replayable {
		return false
	}
	switch o.why {
	case reasonUnreachable:
		return true
	case reasonClosed:
		return !o.sent || q.idempotent && !o.answered
	}
	return false
}

// isIdempotent reports whether a request may be repeated by its method, or
// because the client said so.
func isIdempotent(method string, hasKey bool) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return hasKey
}
