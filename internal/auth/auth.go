package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"weir/internal/platform"
)

// Store is what the service keeps its users and tokens in.
type Store interface {
	User(ctx context.Context, guid string) (platform.User, error)
	UserByName(ctx context.Context, name, origin string) (platform.User, error)
	InsertUser(ctx context.Context, u platform.User) error
	UpdateUser(ctx context.Context, u platform.User) error
	DeleteUser(ctx context.Context, guid string) error
	InsertEvent(ctx context.Context, e platform.Event) error

	RefreshToken(ctx context.Context, hash string) (platform.RefreshToken, error)
	InsertRefreshToken(ctx context.Context, t platform.RefreshToken) error
	ExchangeRefreshToken(ctx context.Context, hash string, now time.Time, successor platform.RefreshToken) (platform.RefreshToken, error)
	HasRefreshFamily(ctx context.Context, family string) (bool, error)
	DeleteRefreshFamily(ctx context.Context, family string) error
	DeleteUserRefreshTokens(ctx context.Context, userGUID string) error
	DeleteExpiredRefreshTokens(ctx context.Context, now time.Time) error

	// KeepSetting keeps value under name unless there is one already, and
	// returns the one that is there now.
	KeepSetting(ctx context.Context, name, value string) (string, error)
}

// Config is what a Service needs.
type Config struct {
	Store  Store
	Logger *slog.Logger
	// KeepAdmin is told each new password of the user admin, which is kept where
	// the machine's owner finds it. May be nil.
	KeepAdmin func(password string) error
}

// Errors that a caller tells apart, each the cause of a *platform.Error.
var (
	// ErrBadCredentials says that the user or the password is wrong.
	ErrBadCredentials = errors.New("auth: bad credentials")
	// ErrLocked says that there were too many wrong passwords of late.
	ErrLocked = errors.New("auth: too many failed attempts")
	// ErrInvalidToken says that a token is malformed, expired or revoked.
	ErrInvalidToken = errors.New("auth: invalid token")
	// ErrInvalidClient says that a client is unknown or its secret wrong.
	ErrInvalidClient = errors.New("auth: invalid client")
)

// How long tokens are good for.
const (
	AccessLifetime  = 20 * time.Minute
	RefreshLifetime = 30 * 24 * time.Hour
	// retryWindow is how long a refresh token may be exchanged again after its
	// first use: the cf CLI retries, and its parallel calls share one token.
	retryWindow = time.Minute
)

// Origins of users.
const (
	OriginInternal = "uaa"    // they log in with a password kept here
	OriginClient   = "client" // programs; the password is their secret
)

// AdminName is the name of the user that Bootstrap makes.
const AdminName = "admin"

// Actor is a caller whose token was verified.
type Actor struct {
	platform.Actor
	Scopes []string
	// TokenID is the token's jti.
	TokenID string
	// Session names the login that the token comes from. Empty for a client,
	// whose tokens end by themselves only.
	Session string
}

// Tokens answer a login.
type Tokens struct {
	Access    string // a JWT
	Refresh   string // empty for a client
	ExpiresIn time.Duration
	Scopes    []string
	ID        string // the access token's jti
}

// Service checks passwords and makes and verifies tokens. It is safe for
// concurrent use.
type Service struct {
	store    Store
	logger   *slog.Logger
	keep     func(password string) error // see Config.KeepAdmin
	hasher   *hasher
	attempts *attempts
	now      func() time.Time

	mu     sync.Mutex
	secret []byte // guarded by mu; nil until first needed
}

// New returns a service on the users in cfg.Store.
func New(cfg Config) *Service {
	return newService(cfg, defaultCost, time.Now)
}

func newService(cfg Config, cost cost, now func() time.Time) *Service {
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Service{store: cfg.Store, logger: logger, keep: cfg.KeepAdmin, hasher: newHasher(cost), attempts: newAttempts(), now: now}
}

// NewPassword returns a random password of 128 bits.
func NewPassword() string { return randomText(16) }

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}

// Bootstrap makes the user admin with the given password, unless there is one
// already; then the password is not looked at.
func (s *Service) Bootstrap(ctx context.Context, password string) error {
	_, err := s.store.UserByName(ctx, AdminName, OriginInternal)
	if platform.KindOf(err) != platform.KindNotFound {
		return err
	}
	if password == "" {
		return platform.Invalidf("the user %s needs a password", AdminName)
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.store.InsertUser(ctx, platform.User{
		Resource:     platform.NewResource(s.now()),
		Username:     AdminName,
		Origin:       OriginInternal,
		PasswordHash: hash,
		Scopes:       slices.Concat(UserScopes, roleScopes[0].scopes),
	})
}

// Password logs a user in with a password, for the client that asks.
func (s *Service) Password(ctx context.Context, client, username, password string) (Tokens, error) {
	user, err := s.check(ctx, username, OriginInternal, password)
	if err != nil {
		return Tokens{}, err
	}
	key, err := s.key(ctx)
	if err != nil {
		return Tokens{}, err
	}
	now := s.now()
	if err := s.store.DeleteExpiredRefreshTokens(ctx, now); err != nil {
		return Tokens{}, err
	}
	refresh, session := randomText(32), platform.NewGUID()
	err = s.store.InsertRefreshToken(ctx, platform.RefreshToken{
		Hash: hashToken(refresh), Family: session, UserGUID: user.GUID, Client: client,
		CreatedAt: now, ExpiresAt: now.Add(RefreshLifetime),
	})
	if err != nil {
		return Tokens{}, err
	}
	s.logger.InfoContext(ctx, "user logged in", "user", user.Username, "client", client)
	return s.issue(key, user, grant{"password", client, session, refresh})
}

// ClientCredentials logs a client in with its secret. Clients get no refresh
// token: they can log in again.
func (s *Service) ClientCredentials(ctx context.Context, id, secret string) (Tokens, error) {
	client, err := s.check(ctx, id, OriginClient, secret)
	if err != nil {
		return Tokens{}, err
	}
	key, err := s.key(ctx)
	if err != nil {
		return Tokens{}, err
	}
	return s.issue(key, client, grant{"client_credentials", client.Username, "", ""})
}

// CheckClient verifies the client of a password or refresh grant. The clients
// of people are public: cf and weir have an empty secret.
func (s *Service) CheckClient(ctx context.Context, id, secret string) error {
	if id == "cf" || id == "weir" {
		if secret == "" {
			return nil
		}
		return badCredentials(OriginClient)
	}
	_, err := s.check(ctx, id, OriginClient, secret)
	return err
}

// Refresh exchanges a refresh token for new tokens. A token used a second
// time has been stolen from, or by, whoever used it first: the whole login
// ends then, except right after the first use, when it is a retry and gets
// the same successor.
func (s *Service) Refresh(ctx context.Context, client, token string) (Tokens, error) {
	now := s.now()
	old, err := s.store.RefreshToken(ctx, hashToken(token))
	if err != nil {
		return Tokens{}, unknownToken(err)
	}
	if old.Client != client || now.After(old.ExpiresAt) {
		return Tokens{}, invalidToken(errors.New("refresh token expired, or of another client"))
	}
	user, err := s.store.User(ctx, old.UserGUID)
	if err != nil {
		return Tokens{}, unknownToken(err)
	}
	key, err := s.key(ctx)
	if err != nil {
		return Tokens{}, err
	}
	next := base64.RawURLEncoding.EncodeToString(sum(key, "refresh", token))
	before, err := s.store.ExchangeRefreshToken(ctx, old.Hash, now, platform.RefreshToken{
		Hash: hashToken(next), Family: old.Family, UserGUID: old.UserGUID, Client: client,
		CreatedAt: now, ExpiresAt: now.Add(RefreshLifetime),
	})
	if err != nil {
		return Tokens{}, unknownToken(err)
	}
	if used := before.UsedAt; !used.IsZero() && now.Sub(used) > retryWindow {
		if err := s.store.DeleteRefreshFamily(ctx, old.Family); err != nil {
			return Tokens{}, err
		}
		s.logger.WarnContext(ctx, "refresh token was used twice: login ended", "user", user.Username, "client", client)
		return Tokens{}, invalidToken(errors.New("refresh token used twice"))
	}
	return s.issue(key, user, grant{"refresh_token", client, old.Family, next})
}

// Revoke ends the login that an actor's token comes from, at once: all its
// access and refresh tokens.
func (s *Service) Revoke(ctx context.Context, who Actor) error {
	if who.Session == "" {
		return nil
	}
	return s.store.DeleteRefreshFamily(ctx, who.Session)
}

// key returns the secret that tokens are signed with; the first call makes it.
func (s *Service) key(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	key := s.secret
	s.mu.Unlock()
	if key != nil {
		return key, nil
	}
	kept, err := s.store.KeepSetting(ctx, "auth.key", randomText(32))
	if err != nil {
		return nil, err
	}
	key, err = base64.RawURLEncoding.DecodeString(kept)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("the key of tokens in the store is damaged: %d bytes, %w", len(key), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = key
	return key, nil
}

// sum derives 256 bits for a purpose from the key and a text.
func sum(key []byte, purpose, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose + "\x00" + text))
	return h.Sum(nil)
}

// hashToken is what is kept of a refresh token. The token is random, so that
// a plain hash is as good as a slow one.
func hashToken(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// unknownToken makes a missing row an invalid token.
func unknownToken(err error) error {
	if platform.KindOf(err) == platform.KindNotFound {
		return invalidToken(err)
	}
	return err
}

func invalidToken(err error) error {
	return &platform.Error{
		Kind:  platform.KindUnauthenticated,
		Title: "InvalidAuthToken",
		Msg:   "Invalid Auth Token",
		Hint:  "log in again",
		Err:   fmt.Errorf("%w: %w", ErrInvalidToken, err),
	}
}
