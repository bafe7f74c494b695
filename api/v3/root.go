package v3

// Root is the answer of GET /: where everything is.
type Root struct {
	Links map[string]*RootLink `json:"links"`
}

// RootLink is a link with what a client should know before following it.
type RootLink struct {
	Href string    `json:"href"`
	Meta *RootMeta `json:"meta,omitempty"`
}

// RootMeta describes the thing behind a link.
type RootMeta struct {
	Version            string `json:"version,omitempty"`
	HostKeyFingerprint string `json:"host_key_fingerprint,omitempty"`
	OAuthClient        string `json:"oauth_client,omitempty"`
}

// Info is the answer of GET /v3/info.
type Info struct {
	Name        string     `json:"name"` // "weir"
	Build       string     `json:"build"`
	Description string     `json:"description"`
	Version     int        `json:"version"`
	OSBAPI      string     `json:"osbapi_version"`
	CLIVersion  CLIVersion `json:"cli_version"`
	Custom      InfoCustom `json:"custom"`
	Links       Links      `json:"links"`
}

// CLIVersion is what version of a command line the server would like.
type CLIVersion struct {
	Minimum     string `json:"minimum"`
	Recommended string `json:"recommended"`
}

// InfoCustom is what weir says of itself.
type InfoCustom struct {
	WeirVersion string `json:"weir_version"`
	// RouterHTTP is a URL of the router as seen from the server's machine;
	// its port is the one under which apps answer.
	RouterHTTP string `json:"router_http"`
}

// Login is the answer of GET /login.
type Login struct {
	App      LoginApp            `json:"app"`
	Links    map[string]string   `json:"links"`
	ZoneName string              `json:"zone_name"`
	Prompts  map[string][]string `json:"prompts"` // name → [type, text]
}

// LoginApp is the version of the token server.
type LoginApp struct {
	Version string `json:"version"`
}

// Token is the answer of POST /oauth/token.
type Token struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"` // "bearer"
	RefreshToken string `json:"refresh_token,omitempty"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	Scope        string `json:"scope"`
	JTI          string `json:"jti"`
}

// OAuthError is the body of the token endpoints' error answers.
type OAuthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Hint        string `json:"hint,omitempty"` // weir's
}
