package platform

// Organization owns spaces and private domains.
type Organization struct {
	Resource
	Name      string
	Suspended bool
}

// Space holds apps and routes.
type Space struct {
	Resource
	OrganizationGUID string
	Name             string
}

// Domain is a name under which routes are made.
type Domain struct {
	Resource
	Name             string
	Internal         bool
	OrganizationGUID string // empty: shared
}

// Route is an address: host and path under a domain.
type Route struct {
	Resource
	SpaceGUID  string
	DomainGUID string
	// DomainName repeats the domain's name; the store fills it on reading.
	DomainName string
	Host       string // "" is the domain itself, "*" the wildcard
	Path       string // "" or begins with "/"
	Protocol   string // "http"
	Options    map[string]string
	// Destinations are filled by the store on reading, in order of creation.
	Destinations []Destination
}

// FQDN returns the full host name: host.domain, or the domain itself.
func (r Route) FQDN() string {
	if r.Host == "" {
		return r.DomainName
	}
	return r.Host + "." + r.DomainName
}

// URL returns the route without a scheme, as Cloud Foundry shows it.
func (r Route) URL() string { return r.FQDN() + r.Path }

// Destination is a process that a route leads to.
type Destination struct {
	Resource
	RouteGUID   string
	AppGUID     string
	ProcessType string
	Port        int    // the app's own; 8080 unless said otherwise
	Protocol    string // "http1" or "http2"
	// Weight is the relative share of the route's requests. Nil means
	// DefaultWeight; 0 means no new request.
	Weight *int
	// Mode is ModeLive, which "" means too, or ModeShadow: then it gets no
	// request, but copies of ShadowPercent of those that the route's live
	// destinations answer, for the app's main version.
	Mode          string
	ShadowPercent int
}

// WithMode returns d as a live destination or a shadow. An empty mode and a
// percentage of 0 leave it what it is. What becomes live has DefaultWeight, and
// a shadow no weight.
func (d Destination) WithMode(mode string, percent int) Destination {
	if mode != "" {
		d.Mode = mode
	}
	switch {
	case percent != 0:
		d.ShadowPercent = percent
	case !d.IsShadow():
		d.ShadowPercent = 0
	}
	if d.IsShadow() {
		d.Weight = nil
	}
	return d
}

// IsShadow reports whether the destination gets copies instead of requests.
func (d Destination) IsShadow() bool { return d.Mode == ModeShadow }

// DefaultWeight is the weight of a destination that was given none.
const DefaultWeight = 100

// MaxWeight is the largest weight a destination may have.
const MaxWeight = 1000

// EffectiveWeight returns the weight used for choosing.
func (d Destination) EffectiveWeight() int {
	switch {
	case d.IsShadow():
		return 0
	case d.Weight == nil:
		return DefaultWeight
	}
	return *d.Weight
}

// Event is one line of the audit log.
type Event struct {
	Resource
	Type       string // "audit.app.create", "app.crash", …
	Actor      Actor
	TargetGUID string
	TargetType string // "app", "route", …
	TargetName string
	Data       map[string]any
	SpaceGUID  string
	OrgGUID    string
}

// User is somebody who may log in.
type User struct {
	Resource
	Username     string
	Origin       string // "uaa"
	PasswordHash string // argon2id in PHC form; empty for a client
	Scopes       []string
}

// ServiceInstance is a user-provided service.
type ServiceInstance struct {
	Resource
	SpaceGUID       string
	Name            string
	Tags            []string
	Credentials     map[string]any
	SyslogDrainURL  string
	RouteServiceURL string
}

// ServiceBinding gives an app the credentials of a service instance.
type ServiceBinding struct {
	Resource
	AppGUID             string
	ServiceInstanceGUID string
	Name                string
}
