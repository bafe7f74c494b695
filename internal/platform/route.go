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
}

// DefaultWeight is the weight of a destination that was given none.
const DefaultWeight = 100

// MaxWeight is the largest weight a destination may have.
const MaxWeight = 1000

// EffectiveWeight returns the weight used for choosing.
func (d Destination) EffectiveWeight() int {
	if d.Weight == nil {
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
