package v3

// Domain is a name under which routes are made.
type Domain struct {
	Resource
	Name               string              `json:"name"`
	Internal           bool                `json:"internal"`
	RouterGroup        *Ref                `json:"router_group"`
	SupportedProtocols []string            `json:"supported_protocols"`
	Relationships      DomainRelationships `json:"relationships"`
	Metadata           Metadata            `json:"metadata"`
	Links              Links               `json:"links"`
}

// DomainRelationships says who owns a domain; nobody if it is shared by all.
type DomainRelationships struct {
	Organization        ToOne  `json:"organization"`
	SharedOrganizations ToMany `json:"shared_organizations"`
}

// DomainCreate asks for a new domain.
type DomainCreate struct {
	Name          string                    `json:"name"`
	Internal      *bool                     `json:"internal,omitempty"`
	RouterGroup   *Ref                      `json:"router_group,omitempty"`
	Relationships *DomainCreateRelationship `json:"relationships,omitempty"`
	Metadata      *MetadataPatch            `json:"metadata,omitempty"`
}

// DomainCreateRelationship makes a new domain private to an organization.
type DomainCreateRelationship struct {
	Organization        *ToOne  `json:"organization,omitempty"`
	SharedOrganizations *ToMany `json:"shared_organizations,omitempty"`
}

// RouteReservation tells whether an address is taken.
type RouteReservation struct {
	MatchingRoute bool `json:"matching_route"`
}

// Route is an address: host and path under a domain.
type Route struct {
	Resource
	Protocol      string            `json:"protocol"`
	Host          string            `json:"host"`
	Path          string            `json:"path"`
	Port          *int              `json:"port"`
	URL           string            `json:"url"` // host.domain/path, no scheme
	Destinations  []Destination     `json:"destinations"`
	Options       map[string]string `json:"options"`
	Relationships Relationships     `json:"relationships"` // space, domain
	Metadata      Metadata          `json:"metadata"`
	Links         Links             `json:"links"`
	Included      *Included         `json:"included,omitempty"`
}

// Destination is a process that a route leads to.
type Destination struct {
	GUID string         `json:"guid"`
	App  DestinationApp `json:"app"`
	// Weight is the relative share of the route's requests, 0 … 1000; null
	// counts as 100 (as 0 … 100 in Cloud Foundry, whose router ignores it).
	Weight   *int   `json:"weight"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"` // http1 or http2
	// Mode is "shadow" for one that gets copies of ShadowPercent of the
	// requests and has weight 0, else left out. Both are weir's additions.
	Mode          string `json:"mode,omitempty"`
	ShadowPercent int    `json:"shadow_percent,omitempty"`

	CreatedAt Time `json:"created_at"`
	UpdatedAt Time `json:"updated_at"`
}

// DestinationApp names the process of a destination.
type DestinationApp struct {
	GUID    string             `json:"guid"`
	Process DestinationProcess `json:"process"`
}

// DestinationProcess is the type of the process.
type DestinationProcess struct {
	Type string `json:"type"`
}

// Destinations is the answer of …/destinations.
type Destinations struct {
	Destinations []Destination `json:"destinations"`
	Links        Links         `json:"links"`
}

// DestinationsUpdate adds destinations (POST) or replaces all (PATCH).
type DestinationsUpdate struct {
	Destinations []DestinationInput `json:"destinations"`
}

// DestinationInput is a destination in a request.
type DestinationInput struct {
	GUID     string              `json:"guid,omitempty"` // ignored
	App      DestinationAppInput `json:"app"`
	Weight   *int                `json:"weight,omitempty"`
	Port     *int                `json:"port,omitempty"`
	Protocol *string             `json:"protocol,omitempty"`
	// Mode is ModeLive or ModeShadow. Without it a new destination is live, and
	// one that exists stays what it is. ShadowPercent is 100 if 0. Both are
	// weir's additions.
	Mode          string `json:"mode,omitempty"`
	ShadowPercent int    `json:"shadow_percent,omitempty"`
}

// DestinationAppInput names a process; without Process it is web.
type DestinationAppInput struct {
	GUID    string              `json:"guid"`
	Process *DestinationProcess `json:"process,omitempty"`
}

// DestinationUpdate changes one destination. All but Protocol are weir's
// additions.
type DestinationUpdate struct {
	Protocol      *string   `json:"protocol,omitempty"`
	Weight        Null[int] `json:"weight,omitzero"`
	Mode          *string   `json:"mode,omitempty"` // ModeLive or ModeShadow
	ShadowPercent *int      `json:"shadow_percent,omitempty"`
}

// RouteCreate asks for a new route.
type RouteCreate struct {
	Host          *string            `json:"host,omitempty"`
	Path          *string            `json:"path,omitempty"`
	Port          *int               `json:"port,omitempty"`
	Options       map[string]*string `json:"options,omitempty"`
	Relationships Relationships      `json:"relationships"` // space, domain
	Metadata      *MetadataPatch     `json:"metadata,omitempty"`
}

// RouteUpdate changes a route's options; a null value removes the option.
type RouteUpdate struct {
	Options  map[string]*string `json:"options,omitempty"`
	Metadata *MetadataPatch     `json:"metadata,omitempty"`
}
