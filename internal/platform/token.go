package platform

import "time"

// RefreshToken is a refresh token as it is kept: without the token itself.
type RefreshToken struct {
	Hash      string // of the token; names it
	Family    string // shared by all tokens that descend from one login
	UserGUID  string
	Client    string // that logged in with it: "cf"
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time // when it was first exchanged; zero if it was not
}
