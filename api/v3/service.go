package v3

import "encoding/json"

// ServiceInstance is a user-provided service.
type ServiceInstance struct {
	Resource
	Name            string        `json:"name"`
	Tags            []string      `json:"tags"`
	Type            string        `json:"type"` // "user-provided"
	SyslogDrainURL  *string       `json:"syslog_drain_url"`
	RouteServiceURL *string       `json:"route_service_url"`
	LastOperation   LastOperation `json:"last_operation"`
	Relationships   Relationships `json:"relationships"` // space
	Metadata        Metadata      `json:"metadata"`
	Links           Links         `json:"links"`
}

// LastOperation is what was last done to a service instance or binding.
type LastOperation struct {
	Type        string `json:"type"`
	State       string `json:"state"`
	Description string `json:"description"`
	CreatedAt   Time   `json:"created_at"`
	UpdatedAt   Time   `json:"updated_at"`
}

// ServiceInstanceCreate asks for a new service instance.
type ServiceInstanceCreate struct {
	Type            string          `json:"type"`
	Name            string          `json:"name"`
	Tags            []string        `json:"tags,omitempty"`
	Credentials     map[string]any  `json:"credentials,omitempty"`
	SyslogDrainURL  *string         `json:"syslog_drain_url,omitempty"`
	RouteServiceURL *string         `json:"route_service_url,omitempty"`
	Parameters      json.RawMessage `json:"parameters,omitempty"` // of managed ones, which weir refuses
	Relationships   Relationships   `json:"relationships"`        // space
	Metadata        *MetadataPatch  `json:"metadata,omitempty"`
}

// ServiceInstanceUpdate changes a service instance.
type ServiceInstanceUpdate struct {
	Name            *string         `json:"name,omitempty"`
	Tags            *[]string       `json:"tags,omitempty"`
	Credentials     *map[string]any `json:"credentials,omitempty"`
	SyslogDrainURL  *string         `json:"syslog_drain_url,omitempty"`
	RouteServiceURL *string         `json:"route_service_url,omitempty"`
	Metadata        *MetadataPatch  `json:"metadata,omitempty"`
}

// CredentialBinding gives an app the credentials of a service instance.
type CredentialBinding struct {
	Resource
	Name          *string       `json:"name"`
	Type          string        `json:"type"` // "app"
	LastOperation LastOperation `json:"last_operation"`
	Relationships Relationships `json:"relationships"` // app, service_instance
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
	Included      *Included     `json:"included,omitempty"`
}

// CredentialBindingCreate asks for a new binding.
type CredentialBindingCreate struct {
	Type          string          `json:"type"`
	Name          *string         `json:"name,omitempty"`
	Parameters    json.RawMessage `json:"parameters,omitempty"`
	Strategy      *string         `json:"strategy,omitempty"`
	Relationships Relationships   `json:"relationships"` // app, service_instance
	Metadata      *MetadataPatch  `json:"metadata,omitempty"`
}

// BindingDetails is the answer of …/service_credential_bindings/:guid/details.
type BindingDetails struct {
	Credentials    map[string]any `json:"credentials"`
	SyslogDrainURL *string        `json:"syslog_drain_url"`
	VolumeMounts   []string       `json:"volume_mounts"`
}
