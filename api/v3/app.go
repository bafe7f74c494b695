package v3

import "encoding/json"

// The states of an app.
const (
	AppStarted = "STARTED"
	AppStopped = "STOPPED"
)

// App is a named program in a space.
type App struct {
	Resource
	Name          string        `json:"name"`
	State         string        `json:"state"`
	Lifecycle     Lifecycle     `json:"lifecycle"`
	Relationships Relationships `json:"relationships"` // space, current_droplet
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
	Included      *Included     `json:"included,omitempty"`
}

// AppCreate asks for a new app.
type AppCreate struct {
	Name                 string            `json:"name"`
	EnvironmentVariables map[string]string `json:"environment_variables,omitempty"`
	Lifecycle            *LifecycleInput   `json:"lifecycle,omitempty"`
	Relationships        Relationships     `json:"relationships"` // space
	Metadata             *MetadataPatch    `json:"metadata,omitempty"`
}

// AppUpdate changes an app.
type AppUpdate struct {
	Name      *string         `json:"name,omitempty"`
	Lifecycle *LifecycleInput `json:"lifecycle,omitempty"`
	Metadata  *MetadataPatch  `json:"metadata,omitempty"`
}

// EnvVars is the answer of …/environment_variables.
type EnvVars struct {
	Var   map[string]string `json:"var"`
	Links Links             `json:"links,omitempty"`
}

// EnvVarsUpdate sets variables, or removes those whose value is null.
type EnvVarsUpdate struct {
	Var map[string]*string `json:"var"`
}

// AppEnv is everything an app finds in its environment, by origin.
type AppEnv struct {
	EnvironmentVariables map[string]string          `json:"environment_variables"`
	StagingEnv           map[string]string          `json:"staging_env_json"`
	RunningEnv           map[string]string          `json:"running_env_json"`
	SystemEnv            map[string]json.RawMessage `json:"system_env_json"`      // VCAP_SERVICES
	ApplicationEnv       map[string]json.RawMessage `json:"application_env_json"` // VCAP_APPLICATION
}

// Feature is a switch of an app, or of a space.
type Feature struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
}

// FeatureUpdate turns a feature or a feature flag on or off.
type FeatureUpdate struct {
	Enabled            *bool   `json:"enabled"`
	CustomErrorMessage *string `json:"custom_error_message,omitempty"`
}

// SSHEnabled tells whether an app may be entered by SSH.
type SSHEnabled struct {
	Enabled bool   `json:"enabled"`
	Reason  string `json:"reason"`
}

// AppPermissions tells what the caller may read of an app.
type AppPermissions struct {
	ReadBasicData     bool `json:"read_basic_data"`
	ReadSensitiveData bool `json:"read_sensitive_data"`
}
