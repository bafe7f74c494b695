package api_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"weir/api/client"
	v3 "weir/api/v3"
	"weir/internal/logs"
)

// zipOf makes a zip of files by name.
func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is one part of a multipart form.
type part struct{ name, file, body string }

func (f *fixture) upload(path string, parts ...part) answer {
	f.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q`, p.name)}}
		if p.file != "" {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p.name, p.file))
			h.Set("Content-Type", "application/octet-stream")
		}
		pw, err := w.CreatePart(h)
		f.must(err)
		io.WriteString(pw, p.body)
	}
	f.must(w.Close())
	req, err := http.NewRequestWithContext(f.t.Context(), "POST", f.url+path, &b)
	f.must(err)
	req.Header.Set("Authorization", "bearer "+f.token)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return f.send(req)
}

func (f *fixture) emptyPackage() string {
	f.t.Helper()
	apps, err := f.client.Apps(f.t.Context(), nil)
	f.must(err)
	if len(apps) == 0 {
		app, _ := f.app("shop")
		apps = append(apps, app)
	}
	p, err := f.client.CreatePackage(f.t.Context(), apps[0].GUID)
	f.must(err)
	return p.GUID
}

// files downloads a package and returns its files.
func (f *fixture) files(pkg string) map[string]string {
	f.t.Helper()
	d, err := f.client.DownloadPackage(f.t.Context(), pkg)
	f.must(err)
	defer d.Close()
	b, err := io.ReadAll(d)
	f.must(err)
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	f.must(err)
	got := map[string]string{}
	for _, e := range r.File {
		if !e.FileInfo().IsDir() {
			rc, err := e.Open()
			f.must(err)
			content, err := io.ReadAll(rc)
			f.must(err)
			got[e.Name] = string(content)
		}
	}
	return got
}

func resourceOf(path, content string) string {
	sum := sha1.Sum([]byte(content))
	return fmt.Sprintf(`{"path":%q,"mode":"644","checksum":{"value":%q},"size_in_bytes":%d}`, path, hex.EncodeToString(sum[:]), len(content))
}

func TestUpload_SecondPushSendsOnlyWhatChanged(t *testing.T) {
	f := newFixture(t)
	big := strings.Repeat("big ", 50_000)
	match := `{"resources":[` + resourceOf("a/big", big) + `,` + resourceOf("small", "s") + `]}`
	var m v3.FileResources
	decode(t, f.wants(201, "POST", "/v3/resource_matches", match), &m)
	if len(m.Resources) != 0 {
		t.Errorf("an empty server has %+v", m.Resources)
	}

	first := f.emptyPackage()
	a := f.upload("/v3/packages/"+first+"/upload", part{"resources", "", "[]"}, part{"bits", "package.zip", string(zipOf(t, map[string]string{"a/big": big, "small": "s"}))})
	var p v3.Package
	decode(t, a, &p)
	if a.status != 200 || p.State != v3.PackageReady || p.Data.Checksum.Value == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}

	decode(t, f.wants(201, "POST", "/v3/resource_matches", match), &m)
	if len(m.Resources) != 2 || m.Resources[0].Path != "a/big" || m.Resources[0].Mode != "644" {
		t.Errorf("matched %+v", m.Resources)
	}
	known := "[" + resourceOf("a/big", big) + "]"
	want := map[string]string{"a/big": big, "small": "new"}
	bits := string(zipOf(t, map[string]string{"small": "new"}))
	for name, parts := range map[string][]part{
		"resources first": {{"resources", "", known}, {"bits", "package.zip", bits}},
		"resources last":  {{"bits", "x", bits}, {"resources", "", known}},
	} {
		pkg := f.emptyPackage()
		if a := f.upload("/v3/packages/"+pkg+"/upload", parts...); a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		if got := f.files(pkg); len(got) != 2 || got["a/big"] != want["a/big"] || got["small"] != "new" {
			t.Errorf("%s: package has %d files", name, len(got))
		}
	}
	// Everything matched: no bits at all. In the older shape, too.
	sum := sha1.Sum([]byte("s"))
	pkg := f.emptyPackage()
	a = f.upload("/v3/packages/"+pkg+"/upload", part{"resources", "", fmt.Sprintf(`[{"fn":"x/y","sha1":%q,"size":1,"mode":"755"}]`, hex.EncodeToString(sum[:]))})
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := f.files(pkg); got["x/y"] != "s" {
		t.Errorf("package has %v", got)
	}
}

func TestUpload_Refusals(t *testing.T) {
	f := newFixture(t)
	bits := string(zipOf(t, map[string]string{"f": "x"}))
	pkg := f.emptyPackage()
	for _, tc := range []struct {
		name   string
		parts  []part
		status int
		want   string
	}{
		{"not a zip", []part{{"bits", "x.zip", "this is no zip at all"}}, 400, "160001"},
		{"resources are no list", []part{{"resources", "", "{}"}, {"bits", "x.zip", bits}}, 422, "not a list of resources"},
		{"bad mode", []part{{"resources", "", `[{"path":"x","mode":"rw","checksum":{"value":"x"},"size_in_bytes":1}]`}, {"bits", "x.zip", bits}}, 422, "octal"},
		{"two bits", []part{{"bits", "x.zip", bits}, {"bits", "y.zip", bits}}, 422, "more than one part"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := f.upload("/v3/packages/"+f.emptyPackage()+"/upload", tc.parts...)
			if a.status != tc.status || !strings.Contains(string(a.body), tc.want) {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	if a := f.do("POST", "/v3/packages/"+pkg+"/upload", `{"not":"a form"}`); a.status != 400 || !strings.Contains(string(a.body), "1003") {
		t.Errorf("JSON for a form: %d %s", a.status, a.body)
	}
	if a := f.upload("/v3/packages/"+pkg+"/upload", part{"bits", "x.zip", bits}); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := f.upload("/v3/packages/"+pkg+"/upload", part{"bits", "x.zip", bits}); a.status != 400 || !strings.Contains(string(a.body), "150004") {
		t.Errorf("second upload: %d %s", a.status, a.body)
	}
}

func TestUpload_BrokenOffLeavesThePackageAsItWas(t *testing.T) {
	f := newFixture(t)
	for _, listed := range []bool{true, false} { // streamed, and kept in a file first
		pkg := f.emptyPackage()
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		f.must(err)
		resources := ""
		if listed {
			resources = "--B\r\nContent-Disposition: form-data; name=\"resources\"\r\n\r\n[]\r\n"
		}
		fmt.Fprintf(conn, "POST /v3/packages/%s/upload HTTP/1.1\r\nHost: x\r\nAuthorization: bearer %s\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n%s--B\r\nContent-Disposition: form-data; name=\"bits\"; filename=\"x\"\r\n\r\nPK\x03\x04half", pkg, f.token, resources)
		f.must(conn.(*net.TCPConn).CloseWrite())
		io.Copy(io.Discard, conn)
		conn.Close()
		f.eventually("the package to await an upload", func() bool {
			p, err := f.client.Package(t.Context(), pkg)
			return err == nil && (p.State == v3.PackageAwaitingUpload || p.State == v3.PackageFailed)
		})
		if f.log.Len() > 0 {
			t.Errorf("an upload that broke off is logged: %s", f.log)
		}
	}
}

func TestDroplets_DownloadByRedirectAndUpload(t *testing.T) {
	f := newFixture(t)
	app, droplet := f.app("shop")
	a := f.wants(302, "GET", "/v3/droplets/"+droplet+"/download", "")
	loc, _ := strings.CutPrefix(a.header.Get("Location"), base)
	got := f.doWith("GET", loc, "", "") // no token
	if got.status != 200 || got.header.Get("Content-Type") != "application/gzip" {
		t.Fatalf("%d %s %s", got.status, got.header, got.body)
	}
	gz, err := gzip.NewReader(bytes.NewReader(got.body))
	f.must(err)
	found := false
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		found = found || strings.TrimPrefix(h.Name, "./") == "app/index.html"
	}
	if !found {
		t.Error("the download does not hold the app")
	}
	for _, bad := range []string{
		"/v3/droplets/" + droplet + "/bits",
		strings.Replace(loc, droplet, "another", 1),
		strings.Replace(loc, "expires=", "expires=9", 1),
	} {
		if a := f.doWith("GET", bad, "", ""); a.status != 403 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}

	d, err := f.client.CreateDroplet(t.Context(), v3.DropletCreate{
		Relationships: v3.Relationships{"app": v3.To(app.GUID)}, ProcessTypes: map[string]string{"web": "./serve"},
	})
	f.must(err)
	job, err := f.client.UploadDroplet(t.Context(), d.GUID, client.Upload{Bits: bytes.NewReader(got.body), Size: int64(len(got.body))})
	f.must(err)
	_, err = f.client.WaitJob(t.Context(), job)
	f.must(err)
	uploaded, err := f.client.Droplet(t.Context(), d.GUID)
	f.must(err)
	if uploaded.State != v3.DropletStaged || uploaded.Checksum == nil {
		t.Errorf("the uploaded droplet is %+v", uploaded)
	}
	bad, err := f.client.CreateDroplet(t.Context(), v3.DropletCreate{Relationships: v3.Relationships{"app": v3.To(app.GUID)}})
	f.must(err)
	job, err = f.client.UploadDroplet(t.Context(), bad.GUID, client.Upload{Bits: strings.NewReader("nonsense"), Size: 8})
	f.must(err)
	_, err = f.client.WaitJob(t.Context(), job)
	if je, ok := errors.AsType[*client.JobError](err); !ok || len(je.Errors) == 0 {
		t.Errorf("a bad droplet: %v", err)
	}
}

func TestBuildpacks_Upload(t *testing.T) {
	f := newFixture(t)
	b, err := f.client.CreateBuildpack(t.Context(), v3.BuildpackCreate{Name: "mine"})
	f.must(err)
	if a := f.upload("/v3/buildpacks/"+b.GUID+"/upload", part{"bits", "bp.txt", "x"}); a.status != 422 {
		t.Errorf("a text file: %d %s", a.status, a.body)
	}
	bits := zipOf(t, map[string]string{"bin/detect": "#!/bin/sh\nexit 1\n", "bin/supply": "#!/bin/sh\n", "bin/finalize": "#!/bin/sh\n", "bin/release": "#!/bin/sh\n"})
	job, err := f.client.UploadBuildpack(t.Context(), b.GUID, client.Upload{Bits: bytes.NewReader(bits), Size: int64(len(bits)), Name: "bp-v1.zip"})
	f.must(err)
	_, err = f.client.WaitJob(t.Context(), job)
	f.must(err)
	bs, err := f.client.Buildpacks(t.Context(), client.Query(nil).In("names", "mine"))
	f.must(err)
	if len(bs) != 1 || bs[0].State != "READY" || bs[0].Filename == nil || *bs[0].Filename != "bp-v1.zip" {
		t.Errorf("the buildpack is %+v", bs)
	}
}

func TestLogStream_FollowsAndEnds(t *testing.T) {
	f := newFixture(t)
	app, _ := f.app("shop")
	for i := range 5 {
		f.line(app.GUID, "APP/PROC/WEB", fmt.Sprintf("old %d", i))
	}
	f.line(app.GUID, "STG", "staged")

	var got []string
	note := func(l v3.LogLine) error {
		got = append(got, l.SourceType+" "+string(l.Payload))
		return nil
	}
	f.must(f.client.LogStream(t.Context(), app.GUID, client.LogStreamOptions{Recent: 2, NoFollow: true}, note))
	if want := "[APP/PROC/WEB old 4 STG staged]"; fmt.Sprint(got) != want {
		t.Errorf("recent: got %v, want %s", got, want)
	}
	newest, err := f.logs.Read(t.Context(), app.GUID, logs.ReadOptions{Descending: true, Limit: 3})
	f.must(err)
	got = nil
	f.must(f.client.LogStream(t.Context(), app.GUID, client.LogStreamOptions{Since: newest[2].Timestamp, NoFollow: true, SourceTypes: []string{"APP/PROC/WEB"}}, note))
	if want := "[APP/PROC/WEB old 3 APP/PROC/WEB old 4]"; fmt.Sprint(got) != want {
		t.Errorf("since: got %v, want %s", got, want)
	}

	got = nil
	enough := errors.New("enough")
	go func() {
		time.Sleep(50 * time.Millisecond)
		f.line(app.GUID, "STG", "not asked for")
		f.line(app.GUID, "APP/PROC/WEB", "live \xff")
	}()
	err = f.client.LogStream(t.Context(), app.GUID, client.LogStreamOptions{Recent: 1, SourceTypes: []string{"APP/PROC/WEB"}}, func(l v3.LogLine) error {
		note(l)
		if len(got) == 2 {
			return enough
		}
		return nil
	})
	if want := "[APP/PROC/WEB old 4 APP/PROC/WEB live \xff]"; !errors.Is(err, enough) || fmt.Sprint(got) != want {
		t.Errorf("following: %v, got %q", err, got)
	}
	if a := f.do("GET", "/v3/apps/nothing/log_stream", ""); a.status != 404 || a.detail() != "App not found" {
		t.Errorf("unknown app: %d %s", a.status, a.body)
	}
}

func (f *fixture) line(app, source, text string) {
	f.t.Helper()
	f.must(f.logs.Append(logs.Envelope{App: app, SourceType: source, Instance: "0", Payload: []byte(text)}))
}
