package shadow

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"weir/router"
)

func answer(status int, body string) router.ShadowAnswer {
	return router.ShadowAnswer{
		Status: status, Header: map[string][]string{"Content-Type": {"application/json"}},
		Body: []byte(body), Size: int64(len(body)), SHA256: sha256.Sum256([]byte(body)), Took: 3 * time.Millisecond,
	}
}

func pair(path, main, shadow string, probe ...string) *router.ShadowPair {
	p := &router.ShadowPair{Method: "GET", Path: path, RequestID: "r1", Main: answer(200, main), Shadow: answer(200, shadow)}
	if len(probe) > 0 {
		a := answer(200, probe[0])
		p.Probe = &a
	}
	return p
}

func report(t *testing.T, rules ...string) (*Report, func(*router.ShadowPair)) {
	t.Helper()
	skip, err := ParseIgnores(rules)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReport("app", "v2", time.Time{})
	return r, func(p *router.ShadowPair) { r.Add(p, skip) }
}

// field returns what was found about a field, zero if nothing.
func (r *Report) field(endpoint, name string) Field {
	if e := r.Endpoints[endpoint]; e != nil && e.Fields[name] != nil {
		return *e.Fields[name]
	}
	return Field{}
}

func TestReport_FindsAFieldThatAlwaysDiffers(t *testing.T) {
	r, add := report(t)
	n := 0
	for found := false; !found; n++ {
		id := fmt.Sprint(n)
		add(pair("/cart/"+id, `{"id":`+id+`,"total":10}`, `{"id":`+id+`,"total":11}`, `{"id":`+id+`,"total":10}`))
		f := r.field("GET /cart/{id}", "$.total")
		found = f.IsFound()
		if n > 30 {
			t.Fatalf("not found after %d requests: %+v", n, f)
		}
	}
	if n > 16 {
		t.Errorf("found after %d compared requests, want 16 at most", n)
	}
	f := r.field("GET /cart/{id}", "$.total")
	if f.Examples[0].Main != "10" || f.Examples[0].Shadow != "11" || f.Examples[0].Probe != "10" {
		t.Errorf("example: %+v", f.Examples[0])
	}
	if r.Equal != 0 || r.Compared != uint64(n) || len(r.Endpoints) != 1 {
		t.Errorf("%d of %d equal, endpoints %v", r.Equal, r.Compared, r.Endpoints)
	}
}

func TestReport_FindsTenPercentUnderThirtyPercentNoise(t *testing.T) {
	late := 0
	for run := range 20 {
		rnd := rand.New(rand.NewPCG(1, uint64(run)))
		r, add := report(t)
		value := func() string {
			if rnd.Float64() < 0.163 { // two answers differ with about 30 %
				return fmt.Sprint("noise", rnd.IntN(1000))
			}
			return "same"
		}
		n := 0
		for ; n < 3000 && !ptr(r.field("GET /a", "$.v")).IsFound(); n++ {
			other := value()
			if rnd.Float64() < 0.1 {
				other = "changed"
			}
			add(pair("/a", doc(value()), doc(other), doc(value())))
		}
		if n > 1500 {
			late++
		}
	}
	if late > 4 {
		t.Errorf("%d of 20 runs took more than 1500 compared requests", late)
	}
}

func ptr(f Field) *Field { return &f }

func doc(v string) string { return fmt.Sprintf(`{"v":%q}`, v) }

func TestReport_SaysNothingOfTwoHundredNoisyFields(t *testing.T) {
	runs := 4
	if os.Getenv("WEIR_LONG") != "" {
		runs = 20
	}
	for run := range runs {
		rnd := rand.New(rand.NewPCG(2, uint64(run)))
		r, add := report(t)
		noisy := func() string {
			m := map[string]int{}
			for i := range 200 {
				m[fmt.Sprintf("f%d", i)] = rnd.IntN(2 + i%5)
			}
			b, _ := json.Marshal(m)
			return string(b)
		}
		for range 150 {
			add(pair("/n", noisy(), noisy(), noisy()))
		}
		for name, f := range r.Endpoints["GET /n"].Fields {
			if f.IsFound() {
				t.Errorf("run %d: %s is said to differ: %+v", run, name, f.Test)
			}
		}
	}
}

func TestReport_ComparesListsByIdentity(t *testing.T) {
	r, add := report(t)
	add(pair("/l", `[{"id":1,"n":"a"},{"id":2,"n":"b"}]`, `[{"id":2,"n":"b"},{"id":1,"n":"a"}]`))
	if r.Equal != 1 {
		t.Errorf("the same elements in another order differ: %+v", r.Endpoints["GET /l"].Fields)
	}
	add(pair("/l", `[{"id":1,"n":"a"}]`, `[{"id":1,"n":"z"}]`))
	if f := r.field("GET /l", "$[*].n"); f.Differs != 1 {
		t.Errorf("fields: %+v", r.Endpoints["GET /l"].Fields)
	}
}

func TestReport_CallsEqualWhatDiffersByNoiseOnly(t *testing.T) {
	r, add := report(t)
	add(pair("/n", `{"ts":1,"n":1}`, `{"ts":2,"n":1}`, `{"ts":3,"n":1}`))
	add(pair("/n", `{"ts":4,"n":1}`, `{"ts":5,"n":1}`))
	add(pair("/n", `{"ts":6,"n":1}`, `{"ts":7,"n":2}`))
	if f := r.field("GET /n", "$.ts"); r.Equal != 2 || f.Noisy != 1 || f.Differs != 3 || f.Test.Noise != 0 {
		t.Errorf("%d of %d equal, %+v", r.Equal, r.Compared, f)
	}
}

func TestReport_Ignores(t *testing.T) {
	r, add := report(t, "$.ts", "$..at", "header:X-Node")
	p := pair("/i", `{"ts":1,"items":[{"at":5,"n":1}]}`, `{"ts":2,"items":[{"at":6,"n":1}]}`)
	p.Main.Header["X-Node"], p.Shadow.Header["X-Node"] = []string{"a"}, []string{"b"}
	add(p)
	if r.Equal != 1 {
		t.Errorf("%+v", r.Endpoints["GET /i"].Fields)
	}
	if _, err := ParseIgnores([]string{"ts"}); err == nil || !strings.Contains(err.Error(), "cannot ignore 'ts'") {
		t.Errorf("a rule that is none: %v", err)
	}
}

func TestReport_ErrorsAndText(t *testing.T) {
	r, add := report(t)
	p := pair("/e", `{}`, ``)
	p.Shadow = router.ShadowAnswer{Error: "timeout"}
	add(p)
	if f := r.field("GET /e", fieldError); f.Differs != 1 {
		t.Errorf("a shadow without an answer: %+v", r.Endpoints["GET /e"].Fields)
	}
	if r.Statuses["200 → timeout"] != 1 {
		t.Errorf("statuses: %v", r.Statuses)
	}
	html := pair("/h", "<p> a </p>\n", "<p>  a </p>")
	html.Main.Header["Content-Type"], html.Shadow.Header["Content-Type"] = []string{"text/html"}, []string{"text/html"}
	add(html)
	if e := r.Endpoints["GET /h"]; e.Equal != 1 {
		t.Errorf("white space counts: %+v", e.Fields)
	}
}

func TestReport_MasksSecrets(t *testing.T) {
	r, add := report(t)
	add(pair("/s", `{"password":"hunter2","note":"eyJhbGciOi.eyJzdWIi.abc"}`, `{"password":"hunter3","note":"x"}`))
	text, _ := json.Marshal(r)
	for _, secret := range []string{"hunter", "eyJ"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in the report: %s", secret, text)
		}
	}
}

func TestReport_StaysSmall(t *testing.T) {
	r, add := report(t)
	for i := range 2000 {
		add(pair("/p"+strings.Repeat("x", i%1000), `{"a":1}`, fmt.Sprintf(`{"a":2,"k%d":1}`, i)))
	}
	for i := range 2000 {
		add(pair("/one", `{"a":1}`, fmt.Sprintf(`{"a":1,"k%d":1}`, i)))
	}
	if len(r.Endpoints) > maxEndpoints+1 {
		t.Errorf("%d endpoints", len(r.Endpoints))
	}
	for name, e := range r.Endpoints {
		if len(e.Fields) > maxReportFields+1 {
			t.Errorf("%s has %d fields", name, len(e.Fields))
		}
	}
}

func TestTemplate(t *testing.T) {
	for path, want := range map[string]string{
		"/":                    "GET /",
		"/users/42/orders?x=1": "GET /users/{id}/orders",
		"/v2/cafe":             "GET /v2/cafe",
		"/t/1b4e28ba-2fa1-11d2-883f-0016d3cca427": "GET /t/{id}",
		"/files/deadbeef01":                       "GET /files/{id}",
		"/dead":                                   "GET /dead",
	} {
		if got := Template("GET", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func FuzzFields(f *testing.F) {
	f.Add(`{"a":[{"id":1},{"id":"x"}],"b":null}`, `$.a[*].id`)
	f.Add(`[[[]]]`, `$..b`)
	f.Fuzz(func(t *testing.T, text, rule string) {
		skip, err := ParseIgnores([]string{rule})
		if err != nil {
			skip = Ignores{}
		}
		a := answer(200, text)
		one, two := fields(&a, skip), fields(&a, skip)
		if len(one) != len(two) {
			t.Fatalf("the same answer has %d fields, then %d", len(one), len(two))
		}
		r := NewReport("a", "v", time.Time{})
		r.Add(pair("/", text, text, text), skip)
		if r.Equal != 1 {
			t.Fatalf("an answer differs from itself: %v", r.Endpoints)
		}
	})
}
