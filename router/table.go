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
	Weight   int       `json:"weight"`
	Protocol string    `json:"protocol,omitempty"`
	Backends []Backend `json:"backends,omitempty"`
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
