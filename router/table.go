package router

// Table is everything the router has to know: a numbered set of routes.
type Table struct {
	// Number rises with each change. The controller counts; the router keeps
	// the number it was given and answers with it.
	Number uint64  `json:"number"`
	Routes []Route `json:"routes"`
}

// Route is an address and the processes that answer for it.
type Route struct {
	// Host is in lower case, without port or trailing dot. A first label of
	// "*" matches any number of labels: "*.example.com".
	Host string `json:"host"`
	// Path is empty, or begins with "/" and matches whole segments.
	Path string `json:"path,omitempty"`
	GUID string `json:"guid"`
	// Destinations may be empty: the route is known, but nobody answers.
	Destinations []Destination `json:"destinations,omitempty"`
	// Options are settings of this route; see CheckOptions.
	Options map[string]string `json:"options,omitempty"`
	// Cohort is mixed into the positions of sticky users unless the route's
	// salt is fixed: another number picks other users for a small share.
	Cohort uint64 `json:"cohort,omitempty"`
	// Hold makes new requests wait. Nil: they do not.
	Hold *Hold `json:"hold,omitempty"`
	// Maintenance answers with a page instead of the app. Nil: it does not.
	Maintenance *Maintenance `json:"maintenance,omitempty"`
}

// Hold is a pause: new requests wait for the route to be without one, and are
// then let go in the order they came. A thousand wait at most, more are
// answered with 503 at once.
type Hold struct {
	// MaxWaitMS is how long one request waits at most, in milliseconds. Zero
	// means 30 s, at most 10 min. After that it is answered with 503.
	MaxWaitMS int64 `json:"max_wait_ms,omitempty"`
}

// Maintenance is the state of a route whose users are told to come later.
type Maintenance struct {
	// Page is the HTML they see, with the placeholders of the option
	// "error-page". Empty: the router's own.
	Page string `json:"page,omitempty"`
	// Allow lets some in: "192.0.2.0/24", or "header:NAME=VALUE".
	Allow []string `json:"allow,omitempty"`
	// RetryAfter in seconds is what clients are told; zero means 60.
	RetryAfter int `json:"retry_after,omitempty"`
}

// RouteKey names a route within a table.
type RouteKey struct {
	Host string `json:"host"`
	Path string `json:"path,omitempty"`
}

// Key returns the name of r within a table.
func (r Route) Key() RouteKey { return RouteKey{Host: r.Host, Path: r.Path} }

// The protocols a backend may speak.
const (
	ProtocolHTTP1 = "http1" // also what an empty Protocol means
	ProtocolHTTP2 = "http2" // HTTP/2 with prior knowledge, without TLS
)

// Destination is one process of one app that a route leads to.
type Destination struct {
	AppGUID string `json:"app_guid"`
	AppName string `json:"app_name,omitempty"`
	Process string `json:"process,omitempty"` // its type: "web"
	// ProcessGUID is what X-CF-Process-Instance names. Empty means AppGUID,
	// which is the GUID of an app's web process.
	ProcessGUID string `json:"process_guid,omitempty"`
	// Weight is the relative share of the route's requests. 0 means none.
	Weight   int    `json:"weight"`
	Protocol string `json:"protocol,omitempty"`
	// Version is the GUID of the app's version this is; empty for an app
	// that has none. Label is what people call it: "v2".
	Version string `json:"version,omitempty"`
	Label   string `json:"label,omitempty"`
	// Split numbers the shares of the app's versions, for the evidence that
	// is counted under them; see Evidence. Zero: nobody judges.
	Split uint64 `json:"split,omitempty"`
	// Counting says what that evidence is. Nil: all requests, of which those
	// count as bad that failed.
	Counting *Counting `json:"counting,omitempty"`
	// LeftAt is when the version lost the last of its share, in Unix seconds.
	// Zero: it has one, never had one, or was taken back.
	LeftAt int64 `json:"left_at,omitempty"`
	// Shadow is the percentage of requests copied here. Such a destination
	// has no share of the traffic itself. The requests are those that versions
	// of the same app answer, or with OfRoute those that any app here does.
	Shadow        int            `json:"shadow,omitempty"`
	OfRoute       bool           `json:"of_route,omitempty"`
	ShadowOptions *ShadowOptions `json:"shadow_options,omitempty"`
	// Match are conditions under which a request comes here whatever the
	// weights say, be it 0. Destinations are asked in order, and one of the
	// conditions is enough.
	Match    []Match   `json:"match,omitempty"`
	Backends []Backend `json:"backends,omitempty"`
}

// ShadowOptions say which requests a shadow gets copies of, and in which form.
type ShadowOptions struct {
	AllMethods bool `json:"all_methods,omitempty"` // not only those in Methods
	// Methods are which are copied; none: GET, HEAD and OPTIONS.
	Methods []string `json:"methods,omitempty"`
	// Paths are the only ones that are copied, and Except those that are not,
	// with all below them. No Paths: all.
	Paths     []string `json:"paths,omitempty"`
	Except    []string `json:"except,omitempty"`
	StripAuth bool     `json:"strip_auth,omitempty"` // without Authorization and Cookie
	Noise     int      `json:"noise,omitempty"`      // percent of copies for which the main version is asked twice
}

// Match is a condition on a request. One of Header, Cookie and CIDR is set.
type Match struct {
	Header string `json:"header,omitempty"` // a name, in any case; of "Host" the value is without port, in lower case
	Cookie string `json:"cookie,omitempty"` // a name
	CIDR   string `json:"cidr,omitempty"`   // of the client's address

	// For a header or cookie. All empty: it is there.
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"` // matches anywhere, unless anchored
}

// Backend is one instance, where the router dials it.
type Backend struct {
	InstanceGUID string `json:"instance_guid"`
	Index        int    `json:"index"`
	Addr         string `json:"addr"` // "10.0.0.1:8080"
}

// Update changes a few routes of the table numbered From and makes it Number.
// All of it takes effect at once: no request sees half of it.
type Update struct {
	From   uint64     `json:"from"`
	Number uint64     `json:"number"`
	Upsert []Route    `json:"upsert,omitempty"`
	Delete []RouteKey `json:"delete,omitempty"`
}
