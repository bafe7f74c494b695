// Package logcache serves the read endpoints of Cloud Foundry's log-cache, so
// that "cf logs" and the staging output of "cf push" work.
//
// Its JSON is what the clients' protobuf library writes: names in snake_case,
// 64-bit numbers as strings, and no field it does not know.
package logcache

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/store"
)

// version is log-cache's; clients of an older one would use other paths.
const version = "3.0.0"

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// stagingShift is by how much the lines of a staging are presented earlier
// than they were written. The cf CLI holds back everything younger than two
// seconds and stops reading when the build ends, so that it would show
// nothing of a fast one.
//
// It is those two seconds and not more: a client that has shown a line of the
// running app from two seconds ago asks only for later ones, and would miss
// staging lines presented before that.
const stagingShift = 2 * time.Second

// stagingSource is the source type of staging lines.
const stagingSource = "STG"

// Config is what a Server works with.
type Config struct {
	Auth   *auth.Service
	Logs   *logs.Store
	Store  *store.Store
	Logger *slog.Logger
}

// Server is the http.Handler of the endpoints. It is safe for concurrent use.
type Server struct {
	cfg   Config
	begun time.Time
	mux   *http.ServeMux
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, begun: time.Now(), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /api/v1/info", s.info)
	s.mux.HandleFunc("GET /api/v1/read/{source}", s.authorised(s.read))
	s.mux.HandleFunc("GET /api/v1/meta", s.authorised(s.meta))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, v3.Error{Code: 10000, Title: "CF-NotFound", Detail: "Unknown request"})
	})
	return s
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) info(w http.ResponseWriter, _ *http.Request) {
	answer(w, v3.LogCacheInfo{
		Version: version, VMUptime: strconv.FormatInt(int64(time.Since(s.begun)/time.Second), 10),
	})
}

// authorised lets callers pass who may read apps.
func (s *Server) authorised(next func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := auth.Bearer(r.Header)
		if !ok {
			fail(w, http.StatusUnauthorized, v3.Error{Code: 10002, Title: "CF-NotAuthenticated", Detail: "Authentication error"})
			return
		}
		who, err := s.cfg.Auth.Verify(r.Context(), token)
		switch {
		case platform.KindOf(err) == platform.KindUnauthenticated:
			fail(w, http.StatusUnauthorized, v3.Error{Code: 1000, Title: "CF-InvalidAuthToken", Detail: "Invalid Auth Token"})
			return
		case err == nil && !auth.Allowed(who, auth.Read):
			fail(w, http.StatusNotFound, v3.Error{Code: 10010, Title: "CF-ResourceNotFound", Detail: "App not found"})
			return
		case err == nil:
			err = next(w, r)
		}
		if err != nil && r.Context().Err() == nil {
			s.failed(w, r, err)
		}
	}
}

func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*platform.Error](err); ok {
		switch e.Kind {
		case platform.KindNotFound:
			fail(w, http.StatusNotFound, v3.Error{Code: 10010, Title: "CF-ResourceNotFound", Detail: e.Msg})
			return
		case platform.KindBadRequest:
			fail(w, http.StatusBadRequest, v3.Error{Code: 10005, Title: "CF-BadQueryParameter", Detail: e.Msg})
			return
		}
	}
	s.cfg.Logger.ErrorContext(r.Context(), "could not read a log", "err", err)
	fail(w, http.StatusInternalServerError, v3.Error{Code: 10001, Title: "CF-UnknownError", Detail: "An unknown error occurred."})
}

// query is what a read asks for, in the time that clients see.
type query struct {
	start, end int64 // end is exclusive
	limit      int
	descending bool
	logs       bool // false: only envelopes of types that weir has none of
}

func parseQuery(r *http.Request) (query, error) {
	v := r.URL.Query()
	q := query{end: math.MaxInt64, limit: defaultLimit, logs: true}
	var err error
	for name, to := range map[string]*int64{"start_time": &q.start, "end_time": &q.end} {
		if text := v.Get(name); text != "" {
			if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
				return q, badQuery(name + " must be an integer")
			}
		}
	}
	if v.Has("end_time") && q.end < q.start {
		return q, badQuery("end_time must not be before start_time")
	}
	if text := v.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 0 || q.limit > maxLimit {
			return q, badQuery("limit must be between 0 and " + strconv.Itoa(maxLimit))
		}
		if q.limit == 0 {
			q.limit = defaultLimit
		}
	}
	q.descending = v.Get("descending") == "true"
	if types := v["envelope_types"]; len(types) > 0 {
		q.logs = slices.ContainsFunc(types, func(t string) bool { return t == "LOG" || t == "ANY" || t == "" })
	}
	if v.Get("name_filter") != "" {
		q.logs = false // it selects among metrics
	}
	return q, nil
}

func badQuery(msg string) error {
	return &platform.Error{Kind: platform.KindBadRequest, Msg: "The query parameter is invalid: " + msg}
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	app, err := s.cfg.Store.App(r.Context(), r.PathValue("source"))
	if err != nil {
		return err
	}
	out := v3.Envelopes{Envelopes: v3.EnvelopeBatch{Batch: []v3.Envelope{}}}
	if q.logs {
		es, err := s.envelopes(r.Context(), app.GUID, q)
		if err != nil {
			return err
		}
		for _, e := range es {
			out.Envelopes.Batch = append(out.Envelopes.Batch, present(e, app))
		}
	}
	answer(w, out)
	return nil
}

// envelopes reads what q selects, staging lines moved to where they are
// presented.
func (s *Server) envelopes(ctx context.Context, app string, q query) ([]logs.Envelope, error) {
	shift := int64(stagingShift)
	opts := logs.ReadOptions{Start: max(q.start, 0), End: q.end}
	if opts.End < math.MaxInt64-shift {
		opts.End += shift
	}
	if opts.End <= 0 {
		return nil, nil // before all time; 0 would mean no end
	}
	es, err := s.cfg.Logs.Read(ctx, app, opts)
	if err != nil {
		return nil, err
	}
	for i := range es {
		if es[i].SourceType == stagingSource {
			es[i].Timestamp -= shift
		}
	}
	es = slices.DeleteFunc(es, func(e logs.Envelope) bool { return e.Timestamp < q.start || e.Timestamp >= q.end })
	slices.SortStableFunc(es, func(a, b logs.Envelope) int { return compare(a.Timestamp, b.Timestamp, q.descending) })
	return es[:min(len(es), q.limit)], nil
}

func compare(a, b int64, descending bool) int {
	switch {
	case a == b:
		return 0
	case (a < b) != descending:
		return -1
	}
	return 1
}

func present(e logs.Envelope, app platform.App) v3.Envelope {
	tags := map[string]string{"app_id": app.GUID, "app_name": app.Name}
	for k, v := range e.Tags {
		tags[k] = v
	}
	tags["source_type"] = e.SourceType
	if typ, ok := strings.CutPrefix(e.SourceType, "APP/PROC/"); ok {
		tags["process_type"] = strings.ToLower(typ)
	}
	instance := e.Instance
	if instance == "" {
		instance = "0"
	}
	tags["instance_id"] = instance
	l := &v3.EnvelopeLog{Payload: e.Payload, Type: v3.LogOut}
	if l.Payload == nil {
		l.Payload = []byte{}
	}
	if e.Stderr {
		l.Type = v3.LogErr
	}
	return v3.Envelope{
		Timestamp: v3.Nanos(e.Timestamp), SourceID: app.GUID, InstanceID: instance,
		DeprecatedTags: map[string]string{}, Tags: tags, Log: l,
	}
}

// meta says of every app how much of its log is kept.
func (s *Server) meta(w http.ResponseWriter, r *http.Request) error {
	apps, _, err := s.cfg.Store.Apps(r.Context(), store.Query{})
	if err != nil {
		return err
	}
	out := v3.LogCacheMeta{Meta: map[string]v3.LogMeta{}}
	for _, app := range apps {
		x, err := s.cfg.Logs.Extent(app.GUID)
		if err != nil {
			return err
		}
		if x.Count > 0 {
			out.Meta[app.GUID] = v3.LogMeta{
				Count:           v3.Nanos(x.Count),
				OldestTimestamp: v3.Nanos(presentedAt(x.Oldest)), NewestTimestamp: v3.Nanos(presentedAt(x.Newest)),
			}
		}
	}
	answer(w, out)
	return nil
}

func presentedAt(m logs.Mark) int64 {
	if m.SourceType == stagingSource {
		return m.Timestamp - int64(stagingShift)
	}
	return m.Timestamp
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that went needs no answer
}

func fail(w http.ResponseWriter, status int, e v3.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v3.Errors{Errors: []v3.Error{e}})
}
