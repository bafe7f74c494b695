package uaa

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/store"
)

// caller returns whose token a request carries, or ErrInvalidToken.
func (s *Server) caller(r *http.Request) (auth.Actor, error) {
	token, ok := auth.Bearer(r.Header)
	if !ok {
		return auth.Actor{}, auth.ErrInvalidToken
	}
	return s.auth.Verify(r.Context(), token)
}

// verified lets callers with a good token pass.
func (s *Server) verified(next func(http.ResponseWriter, *http.Request, auth.Actor) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.caller(r)
		if errors.Is(err, auth.ErrInvalidToken) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="oauth", error="invalid_token"`)
			answer(w, http.StatusUnauthorized, v3.OAuthError{Error: "invalid_token", Description: "The token is not valid"})
			return
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), patience)
			defer cancel()
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			err = next(w, r.WithContext(ctx), who)
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// asAdmin lets callers pass who may make and delete users.
func (s *Server) asAdmin(next func(http.ResponseWriter, *http.Request, auth.Actor) error) http.HandlerFunc {
	return s.verified(func(w http.ResponseWriter, r *http.Request, who auth.Actor) error {
		if !auth.Allowed(who, auth.Admin) {
			return refusal{http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource"}
		}
		return next(w, r, who)
	})
}

// fail answers in the words that the cf CLI looks for in those of its commands
// that are about users.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, _ := errors.AsType[*platform.Error](err)
	switch {
	case e == nil || e.Kind == platform.KindInternal || e.Kind == platform.KindUnavailable:
		s.refuse(w, r, remote(r), err)
	case errors.Is(err, auth.ErrBadCredentials), errors.Is(err, auth.ErrLocked):
		s.failures.fail(remote(r))
		answer(w, http.StatusUnauthorized, v3.OAuthError{Error: "unauthorized", Description: "Old password is incorrect", Hint: e.Hint})
	case e.Kind == platform.KindConflict:
		answer(w, http.StatusConflict, v3.OAuthError{Error: "scim_resource_already_exists", Description: e.Msg})
	case e.Kind == platform.KindNotFound:
		answer(w, http.StatusNotFound, v3.OAuthError{Error: "scim_resource_not_found", Description: e.Msg})
	case e.Title == "invalid_password":
		answer(w, http.StatusUnprocessableEntity, v3.OAuthError{Error: e.Title, Description: e.Msg, Hint: e.Hint})
	default:
		answer(w, http.StatusBadRequest, v3.OAuthError{Error: "invalid_scim_resource", Description: e.Msg, Hint: e.Hint})
	}
}

func read(r *http.Request, to any) error {
	if err := json.NewDecoder(r.Body).Decode(to); err != nil {
		return refusal{http.StatusBadRequest, "invalid_scim_resource", "The body could not be read as JSON"}
	}
	return nil
}

// scimTerm is one comparison of a SCIM filter; weir knows those that are joined
// by "and".
var scimTerm = regexp.MustCompile(`(?i)^\s*(userName|origin|id)\s+eq\s+"([^"]*)"\s*$`)

func (s *Server) findUsers(w http.ResponseWriter, r *http.Request, _ auth.Actor) error {
	in := map[string][]string{}
	name := ""
	for term := range strings.SplitSeq(r.URL.Query().Get("filter"), " and ") {
		if strings.TrimSpace(term) == "" {
			continue
		}
		m := scimTerm.FindStringSubmatch(term)
		if m == nil {
			return refusal{http.StatusBadRequest, "invalid_request", "filter knows userName, origin and id, with eq, joined by and"}
		}
		switch strings.ToLower(m[1]) {
		case "username":
			name = m[2]
		case "origin":
			in["origins"] = []string{m[2]}
		case "id":
			in["guids"] = []string{m[2]}
		}
	}
	all, _, err := s.store.Users(r.Context(), store.Query{In: in})
	if err != nil {
		return err
	}
	out := v3.SCIMUsers{Resources: []v3.SCIMUser{}, StartIndex: 1}
	for _, u := range all {
		if (name == "" || strings.EqualFold(u.Username, name)) && (u.Origin != auth.OriginClient || in["origins"] != nil) {
			out.Resources = append(out.Resources, v3.SCIMUser{ID: u.GUID, UserName: u.Username, Origin: u.Origin, Active: true})
		}
	}
	out.TotalResults, out.ItemsPerPage = len(out.Resources), len(out.Resources)
	answer(w, http.StatusOK, out)
	return nil
}

func (s *Server) createUser(w http.ResponseWriter, r *http.Request, who auth.Actor) error {
	var in v3.SCIMUserCreate
	if err := read(r, &in); err != nil {
		return err
	}
	scopes, err := auth.ScopesOf(auth.RoleNone)
	if in.Role != "" {
		scopes, err = auth.ScopesOf(in.Role)
	}
	if err != nil {
		return err
	}
	u, err := s.auth.CreateUser(r.Context(), who.Actor, platform.User{Username: in.UserName, Origin: in.Origin, Scopes: scopes}, in.Password)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, v3.SCIMUser{ID: u.GUID, UserName: u.Username, Origin: u.Origin, Active: true})
	return nil
}

// deleteUser also succeeds if there is no such user: the cf CLI asks the API of
// apps first, which takes the account away as well.
func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request, who auth.Actor) error {
	id := r.PathValue("id")
	if err := s.auth.DeleteUser(r.Context(), who.Actor, id); err != nil && platform.KindOf(err) != platform.KindNotFound {
		return err
	}
	answer(w, http.StatusOK, v3.SCIMUser{ID: id})
	return nil
}

// setPassword is for one's own password, with the old one, and for those who
// may make users.
func (s *Server) setPassword(w http.ResponseWriter, r *http.Request, who auth.Actor) error {
	id := r.PathValue("id")
	var in v3.SCIMPassword
	if err := read(r, &in); err != nil {
		return err
	}
	var err error
	switch {
	case id == who.GUID:
		if wait := s.failures.locked(remote(r)); wait > 0 {
			tooMany(w, wait)
			return nil
		}
		err = s.auth.ChangePassword(r.Context(), who.Actor, id, in.OldPassword, in.Password)
	case auth.Allowed(who, auth.Admin):
		err = s.auth.SetPassword(r.Context(), who.Actor, id, in.Password)
	default:
		err = refusal{http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource"}
	}
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok", "message": "password updated"})
	return nil
}
