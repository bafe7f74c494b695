package api_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/api"
	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

func TestJobs_UnfinishedOnesFailAtTheNextStart(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s, err := store.Open(ctx, filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Now()
	for _, j := range []platform.Job{
		{GUID: "running", Operation: "app.delete", State: platform.JobProcessing, CreatedAt: now},
		{GUID: "done", Operation: "app.delete", State: platform.JobComplete, CreatedAt: now},
	} {
		if err := s.InsertJob(ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	a, err := api.New(api.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	err = s.Wait(ctx, func(ctx context.Context) (bool, error) {
		j, err := s.Job(ctx, "running")
		return j.State == platform.JobFailed && len(j.Errors) == 1, err
	})
	if err != nil {
		t.Error(err)
	}
	if j, err := s.Job(ctx, "done"); err != nil || j.State != platform.JobComplete {
		t.Errorf("the other job is %+v, %v", j, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWait_AnswersWhenTheEndIsReached(t *testing.T) {
	f := newFixture(t)
	j := platform.Job{GUID: platform.NewGUID(), Operation: "x.y", State: platform.JobProcessing, CreatedAt: time.Now()}
	f.must(f.store.InsertJob(t.Context(), j))
	f.wants(200, "GET", "/v3/jobs/"+j.GUID, "")
	f.wants(200, "GET", "/v3/jobs/"+j.GUID+"?wait=0", "")
	begun := time.Now()
	var got v3.Job
	decode(t, f.wants(200, "GET", "/v3/jobs/"+j.GUID+"?wait=1", ""), &got)
	if took := time.Since(begun); got.State != v3.JobProcessing || took < time.Second {
		t.Errorf("after %s the job is %s", took, got.State)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		j.State, j.Errors = platform.JobFailed, []*platform.Error{platform.Invalidf("no")}
		f.store.UpdateJob(t.Context(), j)
	}()
	const longest = 30 * time.Second
	begun = time.Now()
	decode(t, f.wants(200, "GET", "/v3/jobs/"+j.GUID+"?wait=30", ""), &got)
	if took := time.Since(begun); got.State != v3.JobFailed || got.Errors[0].Detail != "no" || took >= longest {
		t.Errorf("after %s the job is %+v", took, got)
	}
	f.wants(404, "GET", "/v3/jobs/nothing?wait=1", "")
}

// Whoever waits for something while the server is restarted is told to ask
// again; nobody reads the answer to a client that is gone.
func TestRequests_ThatTheServerEndsAreUnavailable(t *testing.T) {
	f := newFixture(t)
	for cause, want := range map[error]int{api.ErrStopping: 503, context.Canceled: 499} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		req := httptest.NewRequestWithContext(ctx, "GET", "/v3/apps", nil)
		req.Header.Set("Authorization", "bearer "+f.token)
		w := httptest.NewRecorder()
		f.api.ServeHTTP(w, req)
		if w.Code != want || strings.Contains(w.Body.String(), "about to restart") != (want == 503) {
			t.Errorf("%v: %d %s", cause, w.Code, w.Body)
		}
	}
}

func TestRequests_HaveIDsAndSurvivePanics(t *testing.T) {
	var lines strings.Builder
	a, err := api.New(api.Config{
		Login:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }),
		Logger: textLogger(&lines),
	})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/login", nil)
	req.Header.Set("X-Vcap-Request-Id", "mine")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, req)
	id := w.Header().Get("X-Vcap-Request-Id")
	if w.Code != 500 || !strings.HasPrefix(id, "mine::") || !strings.Contains(w.Body.String(), id) || strings.Contains(w.Body.String(), "purpose") {
		t.Errorf("%d %q %s", w.Code, id, w.Body)
	}
	if n := strings.Count(lines.String(), "on purpose"); n != 1 || !strings.Contains(lines.String(), id) {
		t.Errorf("logged %d times: %s", n, &lines)
	}
	req = httptest.NewRequest("GET", "/v3/info/", nil)
	req.Header.Set("X-Vcap-Request-Id", "bad\tid")
	w = httptest.NewRecorder()
	a.ServeHTTP(w, req)
	if id := w.Header().Get("X-Vcap-Request-Id"); w.Code != 200 || strings.Contains(id, "bad") || id == "" {
		t.Errorf("%d %q", w.Code, id)
	}
}

func TestRequests_HalfABodyIsCutOff(t *testing.T) {
	for name, fail := range map[string]any{"aborted": http.ErrAbortHandler, "panicked": "on purpose"} {
		a, err := api.New(api.Config{LogCache: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic(fail)
		})})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(a)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		resp, err := http.Get(srv.URL + "/api/v1/read/x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if string(b) != "half" || err == nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		resp.Body.Close()
		srv.Close()
	}
}

func TestBaseURL_IsTheClientsUnlessConfigured(t *testing.T) {
	for _, tc := range []struct {
		cfg  api.Config
		want string
	}{
		{api.Config{}, "http://box.test:8181/v3"},
		{api.Config{ExternalURL: "https://api.example.com/"}, "https://api.example.com/v3"},
	} {
		a, err := api.New(tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("GET", "/", nil)
		req.Host = "box.test:8181"
		w := httptest.NewRecorder()
		a.ServeHTTP(w, req)
		if !strings.Contains(w.Body.String(), `"href":"`+tc.want+`"`) {
			t.Errorf("want %s in %s", tc.want, w.Body)
		}
	}
	if _, err := api.New(api.Config{ExternalURL: "nonsense"}); err == nil {
		t.Error("a bad external URL is accepted")
	}
}

func TestTokens_AreChecked(t *testing.T) {
	f := newFixture(t)
	for _, token := range []string{"x.y.z", f.token + "x", "eyJhbGciOiJub25lIn0.e30."} {
		a := f.doWith("GET", "/v3/apps", "", token)
		if a.status != 401 || !strings.Contains(string(a.body), `"code":1000,"title":"CF-InvalidAuthToken","detail":"Invalid Auth Token"`) {
			t.Errorf("%s: %d %s", token, a.status, a.body)
		}
	}
	reader := platform.User{Resource: platform.NewResource(time.Now()), Username: "eve", Origin: "uaa", Scopes: []string{"cloud_controller.global_auditor"}}
	_, err := f.auth.CreateUser(t.Context(), platform.System, reader, "eve's long password")
	f.must(err)
	tokens, err := f.auth.Password(t.Context(), "cf", "eve", "eve's long password")
	f.must(err)
	for path, want := range map[string]int{
		"GET /v3/apps": 200, "POST /v3/apps": 403, "GET /v3/apps/x/env": 403, "POST /v3/organizations": 403, "POST /v3/buildpacks": 403,
	} {
		method, path, _ := strings.Cut(path, " ")
		if a := f.doWith(method, path, "", tokens.Access); a.status != want {
			t.Errorf("%s %s as an auditor: %d %s", method, path, a.status, a.body)
		}
	}
}
