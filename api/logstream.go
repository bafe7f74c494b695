package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v3 "weir/api/v3"
	"weir/internal/logs"
	"weir/internal/store"
)

// heartbeat is how often a silent log stream sends an empty line, so that
// neither side, nor what is between them, takes it for dead.
const heartbeat = 15 * time.Second

// maxRecent bounds recent=.
const maxRecent = 10000

type streamLogs struct {
	GUID        string `path:"guid"`
	Since       *int64 `query:"since"`
	Recent      *int   `query:"recent"`
	Follow      *bool  `query:"follow"`
	SourceTypes string `query:"source_types"`
	Version     string `query:"version"`
}

// streamLogs sends an app's log, a JSON object per line, as it is written.
func (a *API) streamLogs(ctx context.Context, _ call, req streamLogs) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	if req.Recent != nil && (*req.Recent < 0 || *req.Recent > maxRecent) {
		return reply{}, badQuery("recent must be between 0 and 10000")
	}
	wants, err := a.linesOf(ctx, req.GUID, req.Version)
	if err != nil {
		return reply{}, err
	}
	return reply{stream: func(ctx context.Context, w http.ResponseWriter) error {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no")
		s := &logStream{w: &patient{w, http.NewResponseController(w)}, wants: wants}
		return a.sendLogs(ctx, s, req)
	}}, nil
}

func (a *API) sendLogs(ctx context.Context, s *logStream, req streamLogs) error {
	var types []string
	if req.SourceTypes != "" {
		types = items([]string{req.SourceTypes})
	}
	from := time.Now().UnixNano()
	if req.Since != nil {
		from = *req.Since
	}
	if req.Recent != nil && *req.Recent > 0 {
		opts := logs.ReadOptions{Limit: *req.Recent, Descending: true, SourceTypes: types, Match: s.wants}
		if req.Since != nil {
			opts.Start = *req.Since
		}
		recent, err := a.logs.Read(ctx, req.GUID, opts)
		if err != nil {
			return err
		}
		slices.Reverse(recent)
		if err := s.send(recent); err != nil {
			return err
		}
		if len(recent) > 0 {
			from = recent[len(recent)-1].Timestamp + 1
		}
	}
	if req.Follow != nil && !*req.Follow {
		return a.sendRest(ctx, s, req, from, types)
	}
	return a.followLogs(ctx, s, req, from, types)
}

// sendRest ends a stream that does not follow: with what is there since the
// moment asked for, unless recent lines were asked for and sent.
func (a *API) sendRest(ctx context.Context, s *logStream, req streamLogs, from int64, types []string) error {
	if req.Recent == nil && req.Since != nil {
		rest, err := a.logs.Read(ctx, req.GUID, logs.ReadOptions{Start: from, SourceTypes: types, Match: s.wants})
		if err != nil {
			return err
		}
		return s.send(rest)
	}
	return s.send(nil)
}

// linesOf chooses the lines of one version; nil if all are wanted. Lines
// without the name of a version are those of the app's first.
func (a *API) linesOf(ctx context.Context, app, label string) (func(logs.Envelope) bool, error) {
	if label == "" {
		return nil, nil
	}
	all, _, err := a.store.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {app}}, PerPage: 1})
	if err != nil {
		return nil, err
	}
	isFirst := len(all) > 0 && all[0].Label == label
	return func(e logs.Envelope) bool {
		wrote, tagged := e.Tags[logs.TagVersion]
		return strings.HasPrefix(e.SourceType, "APP") && (wrote == label || !tagged && isFirst)
	}, nil
}

func (a *API) followLogs(ctx context.Context, s *logStream, req streamLogs, from int64, types []string) error {
	if err := s.send(nil); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() {
		t := time.NewTicker(heartbeat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if s.beat() != nil {
					stop()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	err := a.logs.Follow(ctx, req.GUID, from, func(e logs.Envelope) error {
		if !logs.IsFrom(e.SourceType, types) || s.wants != nil && !s.wants(e) {
			return nil
		}
		return s.send([]logs.Envelope{e})
	})
	stop()
	if ctx.Err() != nil {
		return nil // the client went, or the platform stops
	}
	return err
}

// logStream writes lines from Follow and heartbeats, one at a time.
type logStream struct {
	mu sync.Mutex // guards w
	w  *patient

	wants func(logs.Envelope) bool // nil: every line
}

// send sends lines, and the header if nothing was sent before.
func (s *logStream) send(es []logs.Envelope) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	enc := json.NewEncoder(s.w)
	for _, e := range es {
		if err := enc.Encode(presentLogLine(e)); err != nil {
			return err
		}
	}
	return s.w.Flush()
}

func (s *logStream) beat() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.Write([]byte("\n")); err != nil {
		return err
	}
	return s.w.Flush()
}

func presentLogLine(e logs.Envelope) v3.LogLine {
	l := v3.LogLine{
		Timestamp: v3.Nanos(e.Timestamp), SourceType: e.SourceType, Instance: e.Instance,
		Version: e.Tags[logs.TagVersion], Type: v3.LogOut, Payload: e.Payload,
	}
	if e.Stderr {
		l.Type = v3.LogErr
	}
	return l
}
