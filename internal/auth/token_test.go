package auth_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"weir/internal/auth"
	"weir/internal/platform"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// payload decodes the claims of a token as any client would.
func payload(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	var claims map[string]any
	must(t, json.Unmarshal(text, &claims))
	return claims
}

func TestToken_HasWhatTheCFCommandLineReads(t *testing.T) {
	s, _, c := setup(t)
	tokens := login(t, s)
	claims := payload(t, tokens.Access)
	for _, key := range []string{"user_name", "user_id", "origin", "client_id", "jti", "iss", "sub"} {
		if v, ok := claims[key].(string); !ok || v == "" {
			t.Errorf("%s is %v, want a text", key, claims[key])
		}
	}
	exp, ok := claims["exp"].(float64)
	if left := int64(exp) - c.Now().Unix(); !ok || left < 600 || left > 1200 {
		t.Errorf("exp is %v, %d s ahead", claims["exp"], left)
	}
	if claims["revocable"] != true || claims["user_name"] != "admin" || claims["origin"] != "uaa" || claims["jti"] != tokens.ID {
		t.Errorf("claims: %v", claims)
	}
	if _, ok := claims["scope"].([]any); !ok {
		t.Errorf("scope is %T, want a list", claims["scope"])
	}
	if tokens.ExpiresIn != auth.AccessLifetime || len(tokens.Refresh) < 43 {
		t.Errorf("got %+v", tokens)
	}
}

func TestVerify_EndsWithTheToken(t *testing.T) {
	s, db, c := setup(t)
	ctx := t.Context()
	tokens := login(t, s)
	who, err := s.Verify(ctx, tokens.Access)
	must(t, err)
	if who.TokenID != tokens.ID {
		t.Errorf("got %+v", who)
	}
	u, err := db.User(ctx, who.GUID)
	must(t, err)
	u.Scopes = []string{"openid"}
	must(t, db.UpdateUser(ctx, u))
	who, err = s.Verify(ctx, tokens.Access)
	must(t, err)
	if auth.Allowed(who, auth.Admin) {
		t.Error("a scope that was taken away still counts")
	}
	c.advance(auth.AccessLifetime - time.Second)
	_, err = s.Verify(ctx, tokens.Access)
	must(t, err)
	c.advance(time.Second)
	_, err = s.Verify(ctx, tokens.Access)
	wantIs(t, "expired", err, auth.ErrInvalidToken)
}

// The published attacks on JWTs, and the plain forgeries.
func TestVerify_RefusesForgedTokens(t *testing.T) {
	s, _, c := setup(t)
	ctx := t.Context()
	key, err := auth.KeyOf(s, ctx)
	must(t, err)
	good := login(t, s).Access
	parts := strings.Split(good, ".")
	claims := payload(t, good)
	with := func(key string, value any) jwt.MapClaims {
		m := jwt.MapClaims(maps.Clone(claims))
		if m[key] = value; value == nil {
			delete(m, key)
		}
		return m
	}
	sign := func(method jwt.SigningMethod, m jwt.MapClaims, key any) string {
		text, err := jwt.NewWithClaims(method, m).SignedString(key)
		must(t, err)
		return text
	}
	raw := func(header, body string) string { // with a right signature
		text := b64(header) + "." + b64(body)
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	body, err := json.Marshal(claims)
	must(t, err)
	if _, err := s.Verify(ctx, raw(`{"alg":"HS256","typ":"JWT"}`, string(body))); err != nil {
		t.Fatalf("the forger's own tools do not work: %v", err)
	}
	now := c.Now().Unix()
	for name, token := range map[string]string{
		"empty": "", "dots": "..", "one part": parts[0], "two parts": parts[0] + "." + parts[1], "four parts": good + ".x",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"alg none":           sign(jwt.SigningMethodNone, claims, jwt.UnsafeAllowNoneSignatureType),
		"alg None":           b64(`{"alg":"None"}`) + "." + parts[1] + ".",
		"alg nOnE, signed":   raw(`{"alg":"nOnE"}`, string(body)),
		"alg missing":        raw(`{}`, string(body)),
		"alg a list":         raw(`{"alg":["HS256"]}`, string(body)),
		"HS384, right key":   sign(jwt.SigningMethodHS384, claims, key),
		"HS512, right key":   sign(jwt.SigningMethodHS512, claims, key),
		"RS256":              sign(jwt.SigningMethodRS256, claims, private),
		"RS256 header, HMAC": raw(`{"alg":"RS256"}`, string(body)),
		"other key":          sign(jwt.SigningMethodHS256, claims, []byte("other")),
		"empty key":          sign(jwt.SigningMethodHS256, claims, []byte{}),
		"key in the header":  b64(`{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}`) + "." + parts[1] + "." + parts[2],
		"kid of a file":      b64(`{"alg":"HS256","kid":"/dev/null"}`) + "." + parts[1] + "." + parts[2],
		"other payload":      parts[0] + "." + b64(strings.Replace(string(body), "admin", "other", 1)) + "." + parts[2],
		"padding":            good + "=",
		"white space":        good + " ",
		"payload no JSON":    raw(`{"alg":"HS256"}`, "x"),
		"payload a list":     raw(`{"alg":"HS256"}`, "[]"),
		"too long":           raw(`{"alg":"HS256"}`, string(body)+strings.Repeat(" ", 10000)),
		"wrong issuer":       sign(jwt.SigningMethodHS256, with("iss", "evil"), key),
		"no issuer":          sign(jwt.SigningMethodHS256, with("iss", nil), key),
		"wrong audience":     sign(jwt.SigningMethodHS256, with("aud", []string{"cf"}), key),
		"no audience":        sign(jwt.SigningMethodHS256, with("aud", nil), key),
		"expired":            sign(jwt.SigningMethodHS256, with("exp", now-1), key),
		"never expires":      sign(jwt.SigningMethodHS256, with("exp", nil), key),
		"not yet valid":      sign(jwt.SigningMethodHS256, with("nbf", now+60), key),
		"unknown user":       sign(jwt.SigningMethodHS256, with("sub", "none"), key),
		"no user":            sign(jwt.SigningMethodHS256, with("sub", nil), key),
		"no login":           sign(jwt.SigningMethodHS256, with("sid", nil), key),
		"another login":      sign(jwt.SigningMethodHS256, with("sid", "none"), key),
		"no password mark":   sign(jwt.SigningMethodHS256, with("rev_sig", nil), key),
	} {
		_, err := s.Verify(ctx, token)
		wantIs(t, name, err, auth.ErrInvalidToken)
	}
	who, err := s.Verify(ctx, sign(jwt.SigningMethodHS256, with("scope", []string{"made.up", auth.ScopeAdmin}), key))
	must(t, err)
	if len(who.Scopes) != 1 {
		t.Errorf("scopes %v: the user has not got them all", who.Scopes)
	}
}

func FuzzVerify(f *testing.F) {
	s, _, _ := setup(f)
	good := login(f, s).Access
	f.Add(good)
	f.Add("a.b.c")
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := s.Verify(t.Context(), token)
		if err == nil && token != good {
			t.Errorf("%q was accepted", token)
		}
		if err != nil && platform.KindOf(err) != platform.KindUnauthenticated {
			t.Errorf("%q: %v", token, err)
		}
	})
}
