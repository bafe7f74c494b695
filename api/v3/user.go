package v3

// SCIMUser is a user as the token server presents it.
type SCIMUser struct {
	ID       string `json:"id"`
	UserName string `json:"userName"`
	Origin   string `json:"origin"`
	Active   bool   `json:"active"`
}

// SCIMUsers answers a search for users.
type SCIMUsers struct {
	Resources    []SCIMUser `json:"resources"`
	StartIndex   int        `json:"startIndex"`
	ItemsPerPage int        `json:"itemsPerPage"`
	TotalResults int        `json:"totalResults"`
}

// SCIMUserCreate asks for a user. What else clients send, such as a name and
// addresses, is left out.
type SCIMUserCreate struct {
	UserName string `json:"userName"`
	Password string `json:"password"`
	Origin   string `json:"origin,omitempty"` // "uaa", or "client" for a program
	Role     string `json:"role,omitempty"`   // weir's; empty means none
}

// SCIMPassword asks for another password. OldPassword is for one's own.
type SCIMPassword struct {
	OldPassword string `json:"oldPassword,omitempty"`
	Password    string `json:"password"`
}

// UserCreate names a user of the token server: by GUID, or by name and origin.
type UserCreate struct {
	GUID     string         `json:"guid,omitempty"`
	Username string         `json:"username,omitempty"`
	Origin   string         `json:"origin,omitempty"`
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}

// UserUpdate changes a user.
type UserUpdate struct {
	Role     *string        `json:"role,omitempty"` // weir's: admin, reader, auditor, none
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}
