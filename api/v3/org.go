package v3

// Organization owns spaces and private domains.
type Organization struct {
	Resource
	Name          string        `json:"name"`
	Suspended     bool          `json:"suspended"`
	Relationships Relationships `json:"relationships"` // quota
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
}

// OrganizationCreate asks for a new organization.
type OrganizationCreate struct {
	Name      string         `json:"name"`
	Suspended *bool          `json:"suspended,omitempty"`
	Metadata  *MetadataPatch `json:"metadata,omitempty"`
}

// OrganizationUpdate changes an organization.
type OrganizationUpdate struct {
	Name      *string        `json:"name,omitempty"`
	Suspended *bool          `json:"suspended,omitempty"`
	Metadata  *MetadataPatch `json:"metadata,omitempty"`
}

// UsageSummary is the answer of /v3/organizations/:guid/usage_summary.
type UsageSummary struct {
	UsageSummary UsageCounts `json:"usage_summary"`
	Links        Links       `json:"links"`
}

// UsageCounts says what an organization uses.
type UsageCounts struct {
	StartedInstances int `json:"started_instances"`
	MemoryMB         int `json:"memory_in_mb"`
	Routes           int `json:"routes"`
	ServiceInstances int `json:"service_instances"`
	ReservedPorts    int `json:"reserved_ports"`
	Domains          int `json:"domains"`
	PerAppTasks      int `json:"per_app_tasks"`
	ServiceKeys      int `json:"service_keys"`
}

// Space holds apps and routes.
type Space struct {
	Resource
	Name          string        `json:"name"`
	Relationships Relationships `json:"relationships"` // organization, quota
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
	Included      *Included     `json:"included,omitempty"`
}

// SpaceCreate asks for a new space.
type SpaceCreate struct {
	Name          string         `json:"name"`
	Relationships Relationships  `json:"relationships"` // organization
	Metadata      *MetadataPatch `json:"metadata,omitempty"`
}

// SpaceUpdate changes a space.
type SpaceUpdate struct {
	Name     *string        `json:"name,omitempty"`
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}

// User is somebody who may log in.
type User struct {
	Resource
	Username         *string  `json:"username"`
	PresentationName string   `json:"presentation_name"`
	Origin           *string  `json:"origin"`
	Role             string   `json:"role"` // weir's: admin, reader, auditor, none
	Metadata         Metadata `json:"metadata"`
	Links            Links    `json:"links"`
}

// FeatureFlag is a switch of the whole platform.
type FeatureFlag struct {
	Name               string  `json:"name"`
	Enabled            bool    `json:"enabled"`
	UpdatedAt          Time    `json:"updated_at"`
	CustomErrorMessage *string `json:"custom_error_message"`
	Links              Links   `json:"links"`
}

// OrganizationQuota limits an organization; weir has one, without limits.
type OrganizationQuota struct {
	Resource
	Name          string            `json:"name"`
	Apps          QuotaApps         `json:"apps"`
	Services      QuotaServices     `json:"services"`
	Routes        QuotaRoutes       `json:"routes"`
	Domains       QuotaDomains      `json:"domains"`
	Relationships map[string]ToMany `json:"relationships"` // organizations
	Links         Links             `json:"links"`
}

// QuotaApps limits apps; null is unlimited.
type QuotaApps struct {
	TotalMemoryMB      *int `json:"total_memory_in_mb"`
	PerProcessMemoryMB *int `json:"per_process_memory_in_mb"`
	TotalInstances     *int `json:"total_instances"`
	PerAppTasks        *int `json:"per_app_tasks"`
	LogRateLimit       *int `json:"log_rate_limit_in_bytes_per_second"`
}

// QuotaServices limits services; null is unlimited.
type QuotaServices struct {
	PaidServicesAllowed   bool `json:"paid_services_allowed"`
	TotalServiceInstances *int `json:"total_service_instances"`
	TotalServiceKeys      *int `json:"total_service_keys"`
}

// QuotaRoutes limits routes; null is unlimited.
type QuotaRoutes struct {
	TotalRoutes        *int `json:"total_routes"`
	TotalReservedPorts *int `json:"total_reserved_ports"`
}

// QuotaDomains limits domains; null is unlimited.
type QuotaDomains struct {
	TotalDomains *int `json:"total_domains"`
}

// RoleCreate asks for a role of a user in an organization or a space.
type RoleCreate struct {
	Type          string            `json:"type"`
	Relationships RoleRelationships `json:"relationships"`
}

// RoleRelationships says whose role it is, and in what.
type RoleRelationships struct {
	User         *RoleUser `json:"user,omitempty"`
	Organization *ToOne    `json:"organization,omitempty"`
	Space        *ToOne    `json:"space,omitempty"`
}

// RoleUser names the user of a role.
type RoleUser struct {
	Data *UserRef `json:"data"`
}

// UserRef names a user by GUID, or by name and origin.
type UserRef struct {
	GUID     string `json:"guid,omitempty"`
	Username string `json:"username,omitempty"`
	Origin   string `json:"origin,omitempty"`
}
