package client_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/api/client"
	v3 "weir/api/v3"
)

// serve returns a client of a server that does what h says.
func serve(t *testing.T, cfg client.Config, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cfg.URL = srv.URL + "/"
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// token makes an access token that ends at exp.
func token(name string, exp time.Time) string {
	claims := fmt.Sprintf(`{"user_name":%q,"exp":%d}`, name, exp.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
}

func TestNew_WantsAURL(t *testing.T) {
	for _, bad := range []string{"", "box:8181", "ftp://x", "http://"} {
		if _, err := client.New(client.Config{URL: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestErrors_CarryWhatTheServerSaid(t *testing.T) {
	for _, tc := range []struct {
		status             int
		body               string
		code               int
		title, text, hint_ string
	}{
		{422, `{"errors":[{"code":10008,"title":"CF-UnprocessableEntity","detail":"no","hint":"try"},{"code":1,"title":"x","detail":"nor this"}]}`, 10008, "CF-UnprocessableEntity", "no\nnor this", "try"},
		{401, `{"error":"unauthorized","error_description":"Bad credentials"}`, 0, "unauthorized", "Bad credentials", ""},
		{502, `<html>oops</html>`, 0, "", "the server answered 502 Bad Gateway: <html>oops</html>", ""},
		{500, ``, 0, "", "the server answered 500 Internal Server Error", ""},
	} {
		c := serve(t, client.Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Vcap-Request-Id", "r-1")
			w.WriteHeader(tc.status)
			io.WriteString(w, tc.body)
		})
		_, err := c.App(t.Context(), "x")
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Status != tc.status || e.Errors[0].Code != tc.code || e.Title() != tc.title || e.Error() != tc.text || e.Hint() != tc.hint_ || e.RequestID != "r-1" || e.Path != "/v3/apps/x" {
			t.Errorf("%s: %+v", tc.body, err)
		}
	}
	c, err := client.New(client.Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Root(t.Context())
	if u, ok := errors.AsType[*client.Unreachable](err); !ok || u.URL != "http://127.0.0.1:1" {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	cancel(why)
	if _, err := c.Root(ctx); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestList_FollowsAllPagesAndKeepsItsFilters(t *testing.T) {
	var queries []string
	var base string
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		base = "http://" + r.Host
		page := r.URL.Query().Get("page")
		next := "null"
		if page != "2" {
			next = fmt.Sprintf(`{"href":"%s/v3/routes?page=2&per_page=500"}`, base)
		}
		fmt.Fprintf(w, `{"pagination":{"total_results":2,"next":%s},"resources":[{"guid":"r%s"}],"included":{"domains":[{"guid":"d%s"}]}}`, next, page, page)
	})
	q := client.Query(nil).In("names", "a,b", "50%").Set("order_by", "-created_at").In("hosts")
	routes, inc, err := c.RoutesIncluding(t.Context(), q)
	if err != nil || len(routes) != 2 || routes[1].GUID != "r2" || len(inc.Domains) != 2 {
		t.Errorf("%+v %+v %v", routes, inc, err)
	}
	first, _ := url.ParseQuery(queries[0])
	if want := (url.Values{"names": {"a%2Cb,50%25"}, "order_by": {"-created_at"}, "hosts": {""}, "per_page": {"500"}}); !cmp.Equal(first, want) {
		t.Error(cmp.Diff(want, first))
	}
	queries = nil
	one, err := client.List[v3.Route](t.Context(), c, "/v3/routes", client.Query(nil).Set("page", "1").PerPage(1))
	if err != nil || len(one) != 1 || len(queries) != 1 {
		t.Errorf("with a page it read %d, %v", len(queries), err)
	}
}

func TestSession_RefreshesInTimeAndAfterARefusal(t *testing.T) {
	fresh, refused := token("fresh", time.Now().Add(time.Hour)), token("refused", time.Now().Add(time.Hour))
	var refreshes atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" {
			refreshes.Add(1)
			r.ParseForm()
			if id, secret, ok := r.BasicAuth(); !ok || id != "cf" || secret != "" {
				t.Errorf("client %q %q", id, secret)
			}
			if r.Form.Get("refresh_token") != "good" {
				w.WriteHeader(401)
				io.WriteString(w, `{"error":"invalid_token","error_description":"no"}`)
				return
			}
			json.NewEncoder(w).Encode(v3.Token{AccessToken: fresh, RefreshToken: "good", TokenType: "bearer"})
			return
		}
		if r.Header.Get("Authorization") != "bearer "+fresh {
			w.WriteHeader(401)
			io.WriteString(w, `{"errors":[{"code":1000,"title":"CF-InvalidAuthToken","detail":"Invalid Auth Token"}]}`)
			return
		}
		io.WriteString(w, `{"guid":"a"}`)
	}
	srv := httptest.NewServer(http.HandlerFunc(handler))
	defer srv.Close()
	plain, err := client.New(client.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	with := func(t *testing.T, tok v3.Token) *client.Client {
		c, err := client.New(client.Config{URL: srv.URL, Tokens: client.NewSession(client.SessionConfig{Auth: plain, Token: tok})})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, access := range map[string]string{"expired": token("old", time.Now().Add(10*time.Second)), "refused": refused} {
		refreshes.Store(0)
		c := with(t, v3.Token{AccessToken: access, RefreshToken: "good"})
		for range 3 {
			if _, err := c.App(t.Context(), "a"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := refreshes.Load(); n != 1 {
			t.Errorf("%s: %d refreshes", name, n)
		}
	}
	for name, tok := range map[string]v3.Token{"no token": {}, "no refresh token": {AccessToken: refused}, "bad refresh token": {AccessToken: refused, RefreshToken: "bad"}} {
		if _, err := with(t, tok).App(t.Context(), "a"); !errors.Is(err, client.ErrLogin) || !client.IsUnauthorized(err) {
			t.Errorf("%s: %v", name, err)
		}
	}

	saved := 0
	s := client.NewSession(client.SessionConfig{Auth: plain, Token: v3.Token{AccessToken: refused}, Update: func(_ context.Context, current v3.Token, _ func(v3.Token) (v3.Token, error)) (v3.Token, error) {
		saved++
		if current.AccessToken != refused {
			t.Errorf("current is %s", current.AccessToken)
		}
		return v3.Token{AccessToken: fresh}, nil // another process has refreshed meanwhile
	}})
	if got, err := s.Token(t.Context(), refused); err != nil || got != fresh || saved != 1 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUpload_StreamsAFormWithItsLength(t *testing.T) {
	const bits = "the bits of an app"
	var fields []string
	tries := 0
	fresh := token("x", time.Now().Add(time.Hour))
	c := serve(t, client.Config{Tokens: tokens{"stale", fresh}}, func(w http.ResponseWriter, r *http.Request) {
		tries++
		if r.ContentLength <= 0 {
			t.Errorf("length %d", r.ContentLength)
		}
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		fields = nil
		for form := multipart.NewReader(r.Body, params["boundary"]); ; {
			p, err := form.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			b, _ := io.ReadAll(p)
			fields = append(fields, p.FormName()+" "+p.FileName()+" "+string(b))
		}
		if r.Header.Get("Authorization") != "bearer "+fresh {
			w.WriteHeader(401)
			return
		}
		w.Header().Set("Location", "http://x/v3/jobs/j1")
		io.WriteString(w, `{"guid":"p","state":"READY"}`)
	})
	var sent []int64
	up := client.Upload{Bits: strings.NewReader(bits), Size: int64(len(bits)), Progress: func(n int64) { sent = append(sent, n) }}
	p, err := c.UploadPackage(t.Context(), "p", up, []v3.FileResource{{Path: "f", Mode: "644", SizeInBytes: 1}})
	if err != nil || p.State != v3.PackageReady {
		t.Fatalf("%+v, %v", p, err)
	}
	want := []string{`resources  [{"path":"f","mode":"644","checksum":{"value":""},"size_in_bytes":1}]`, "bits package.zip " + bits}
	if !cmp.Equal(fields, want) || tries != 2 || sent[len(sent)-1] != int64(len(bits)) {
		t.Errorf("%d tries, %v: %s", tries, sent, cmp.Diff(want, fields))
	}
	if _, err := c.UploadPackage(t.Context(), "p", client.Upload{}, nil); err != nil || !cmp.Equal(fields, []string{"resources  []"}) {
		t.Errorf("nothing to send: %v, %v", fields, err)
	}
	job, err := c.UploadDroplet(t.Context(), "d", client.Upload{Bits: strings.NewReader("x"), Size: 1, Name: "d.tgz"})
	if err != nil || job != "j1" || !cmp.Equal(fields, []string{"bits d.tgz x"}) {
		t.Errorf("droplet: %q %v, %v", job, fields, err)
	}
}

// tokens gives the first token until it is refused.
type tokens struct{ first, second string }

func (t tokens) Token(_ context.Context, refused string) (string, error) {
	if refused == t.first {
		return t.second, nil
	}
	return t.first, nil
}

func TestWait_AsksAgainUntilTheEnd(t *testing.T) {
	asked := 0
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") == "" {
			t.Errorf("asked %s", r.URL)
		}
		asked++
		state := "PROCESSING"
		if asked == 2 {
			state = "FAILED"
		}
		fmt.Fprintf(w, `{"guid":"j","operation":"x.y","state":%q,"errors":[{"detail":"no","hint":"try"}]}`, state)
	})
	_, err := c.WaitJob(t.Context(), "j")
	if je, ok := errors.AsType[*client.JobError](err); !ok || je.Error() != "no" || je.Errors[0].Hint != "try" || asked != 2 {
		t.Errorf("%v after %d", err, asked)
	}
	if _, err := c.WaitJob(t.Context(), ""); err != nil {
		t.Error(err)
	}
	asked = -1000
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.WaitJob(ctx, "j"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
}

func TestRaw_AnswersWhateverTheStatus(t *testing.T) {
	var warned []string
	var traced []client.Exchange
	cfg := client.Config{
		Tokens: tokens{"tok", ""},
		Warn:   func(s string) { warned = append(warned, s) },
		Trace:  func(e client.Exchange) { traced = append(traced, e) },
	}
	c := serve(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Cf-Warnings", "one+thing,two%2C+three")
		if r.Method == "GET" {
			io.WriteString(w, `{"guid":"a"}`)
			return
		}
		b, _ := io.ReadAll(r.Body)
		w.WriteHeader(418)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), b)
	})
	resp, err := c.Raw(t.Context(), "PATCH", "/v3/x?y=z", nil, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 418 || string(b) != "PATCH /v3/x?y=z application/json {}" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	if want := []string{"one thing", "two, three"}; !cmp.Equal(warned, want) {
		t.Errorf("warnings %q", warned)
	}
	if _, err := c.App(t.Context(), "a"); err != nil || len(traced) != 1 || traced[0].Status != 200 || string(traced[0].Received) != `{"guid":"a"}` {
		t.Errorf("traced %+v, %v", traced, err)
	}
}

func TestLogStream_IsPatientAndPassesErrorsOn(t *testing.T) {
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Encode(); got != "recent=5&source_types=STG%2CRTR" && got != "follow=false&since=7" {
			t.Errorf("query %s", got)
		}
		io.WriteString(w, `{"timestamp":"12","source_type":"STG","instance":"0","type":"OUT","payload":"aGk="}`+"\n\n\n")
	})
	var got []v3.LogLine
	note := func(l v3.LogLine) error { got = append(got, l); return nil }
	err := c.LogStream(t.Context(), "a", client.LogStreamOptions{Recent: 5, SourceTypes: []string{"STG", "RTR"}}, note)
	want := []v3.LogLine{{Timestamp: 12, SourceType: "STG", Instance: "0", Type: "OUT", Payload: []byte("hi")}}
	if !errors.Is(err, io.ErrUnexpectedEOF) || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.LogStream(t.Context(), "a", client.LogStreamOptions{Since: 7, NoFollow: true}, note); err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := c.LogStream(t.Context(), "a", client.LogStreamOptions{Since: 7, NoFollow: true}, func(v3.LogLine) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
