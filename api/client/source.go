package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"

	v3 "weir/api/v3"
)

// maxMatches is how many files one resource_matches request may name.
const maxMatches = 5000

// MatchResources returns those of files that the server has already.
func (c *Client) MatchResources(ctx context.Context, files []v3.FileResource) ([]v3.FileResource, error) {
	var matched []v3.FileResource
	for len(files) > 0 {
		n := min(len(files), maxMatches)
		var out v3.FileResources
		if _, err := c.do(ctx, http.MethodPost, "/v3/resource_matches", v3.FileResources{Resources: files[:n]}, &out); err != nil {
			return nil, err
		}
		matched, files = append(matched, out.Resources...), files[n:]
	}
	return matched, nil
}

// Packages lists packages. Filters: app_guids, guids, states, types …
func (c *Client) Packages(ctx context.Context, q Query) ([]v3.Package, error) {
	return List[v3.Package](ctx, c, "/v3/packages", q)
}

// Package reads a package.
func (c *Client) Package(ctx context.Context, guid string) (v3.Package, error) {
	var p v3.Package
	err := c.get(ctx, "/v3/packages/"+guid, nil, &p)
	return p, err
}

// CreatePackage makes an empty package of an app, to be uploaded to.
func (c *Client) CreatePackage(ctx context.Context, app string) (v3.Package, error) {
	return c.CreatePackageWith(ctx, v3.PackageCreate{
		Type: "bits", Relationships: v3.Relationships{"app": v3.To(app)},
	})
}

// CreateGitPackage makes a package of an app that the server fetches from a
// git repository; follow it with WaitPackage.
func (c *Client) CreateGitPackage(ctx context.Context, app, url, ref string) (v3.Package, error) {
	return c.CreatePackageWith(ctx, v3.PackageCreate{
		Type: "git", Data: &v3.PackageCreateData{URL: url, Ref: ref},
		Relationships: v3.Relationships{"app": v3.To(app)},
	})
}

// CreatePackageWith makes a package as p says, for callers that set metadata.
func (c *Client) CreatePackageWith(ctx context.Context, p v3.PackageCreate) (v3.Package, error) {
	var out v3.Package
	_, err := c.do(ctx, http.MethodPost, "/v3/packages", p, &out)
	return out, err
}

// Upload is a stream of bits on its way to the server.
type Upload struct {
	// Bits is the stream; nil if there is nothing to send. An io.Seeker among
	// them can be sent a second time when the token was refused.
	Bits io.Reader
	// Size is the length of Bits, or -1 if nobody knows.
	Size int64
	// Name is the file name to send; "bits" if empty.
	Name string
	// Progress is called as bytes of Bits leave. May be nil.
	Progress func(sent int64)
}

// UploadPackage gives a package its content: a zip of files, and the files
// that the server has already. The answer's state is usually READY.
func (c *Client) UploadPackage(ctx context.Context, guid string, u Upload, matched []v3.FileResource) (v3.Package, error) {
	if matched == nil {
		matched = []v3.FileResource{}
	}
	res, err := json.Marshal(matched)
	if err != nil {
		return v3.Package{}, err
	}
	if u.Name == "" {
		u.Name = "package.zip"
	}
	var p v3.Package
	_, err = c.upload(ctx, "/v3/packages/"+guid+"/upload", u, res, &p)
	return p, err
}

// upload sends a multipart form without holding Bits in memory.
func (c *Client) upload(ctx context.Context, path string, u Upload, resources []byte, out any) (*http.Response, error) {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if resources != nil {
		if err := form.WriteField("resources", string(resources)); err != nil {
			return nil, err
		}
	}
	if u.Bits != nil {
		name := u.Name
		if name == "" {
			name = "bits"
		}
		if _, err := form.CreateFormFile("bits", name); err != nil {
			return nil, err
		}
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	size := int64(-1)
	if u.Bits == nil || u.Size >= 0 {
		size = int64(head.Len()) + int64(len(tail))
		if u.Bits != nil {
			size += u.Size
		}
	}
	seeker, replayable := u.Bits.(io.Seeker)
	tries := 0
	r := request{
		method: http.MethodPost, path: path, size: size,
		header: http.Header{"Content-Type": {form.FormDataContentType()}},
		once:   u.Bits != nil && !replayable,
	}
	r.body = func() (io.Reader, error) {
		parts := []io.Reader{bytes.NewReader(head.Bytes())}
		if u.Bits != nil {
			if tries++; tries > 1 {
				if _, err := seeker.Seek(0, io.SeekStart); err != nil {
					return nil, fmt.Errorf("starting the upload again: %w", err)
				}
			}
			parts = append(parts, &counter{r: u.Bits, progress: u.Progress})
		}
		return io.MultiReader(append(parts, bytes.NewReader([]byte(tail)))...), nil
	}
	return c.decode(ctx, r, out)
}

// counter tells how much was read through it.
type counter struct {
	r        io.Reader
	n        int64
	progress func(int64)
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if n > 0 && c.progress != nil {
		c.progress(c.n)
	}
	return n, err
}

// Download is a stream from the server. The caller closes it.
type Download struct {
	io.ReadCloser
	Size int64 // -1 if the server did not say
	Name string
}

// DownloadPackage returns a package as a zip.
func (c *Client) DownloadPackage(ctx context.Context, guid string) (*Download, error) {
	return c.download(ctx, "/v3/packages/"+guid+"/download")
}

// DownloadDroplet returns a droplet as a tar.gz.
func (c *Client) DownloadDroplet(ctx context.Context, guid string) (*Download, error) {
	return c.download(ctx, "/v3/droplets/"+guid+"/download")
}

func (c *Client) download(ctx context.Context, path string) (*Download, error) {
	resp, err := c.send(ctx, request{
		method: http.MethodGet, path: path, header: http.Header{"Accept": {"*/*"}},
	})
	if err != nil {
		return nil, err
	}
	return &Download{ReadCloser: resp.Body, Size: resp.ContentLength, Name: fileName(resp)}, nil
}

// CreateBuild stages a package. lifecycle nil means the app's own.
func (c *Client) CreateBuild(ctx context.Context, pkg string, lifecycle *v3.LifecycleInput) (v3.Build, error) {
	var b v3.Build
	_, err := c.do(ctx, http.MethodPost, "/v3/builds", v3.BuildCreate{
		Package: v3.Ref{GUID: pkg}, Lifecycle: lifecycle,
	}, &b)
	return b, err
}

// Builds lists builds. Filters: app_guids, package_guids, states.
func (c *Client) Builds(ctx context.Context, q Query) ([]v3.Build, error) {
	return List[v3.Build](ctx, c, "/v3/builds", q)
}

// Droplets lists droplets. Filters: app_guids, guids, states …
func (c *Client) Droplets(ctx context.Context, q Query) ([]v3.Droplet, error) {
	return List[v3.Droplet](ctx, c, "/v3/droplets", q)
}

// Droplet reads a droplet.
func (c *Client) Droplet(ctx context.Context, guid string) (v3.Droplet, error) {
	var d v3.Droplet
	err := c.get(ctx, "/v3/droplets/"+guid, nil, &d)
	return d, err
}

// CreateDroplet makes an empty droplet of an app, to be uploaded to.
func (c *Client) CreateDroplet(ctx context.Context, d v3.DropletCreate) (v3.Droplet, error) {
	var out v3.Droplet
	_, err := c.do(ctx, http.MethodPost, "/v3/droplets", d, &out)
	return out, err
}

// UploadDroplet gives a droplet its content, a tar.gz as DownloadDroplet
// returns it; follow the job with WaitJob.
func (c *Client) UploadDroplet(ctx context.Context, guid string, u Upload) (job string, err error) {
	resp, err := c.upload(ctx, "/v3/droplets/"+guid+"/upload", u, nil, nil)
	return jobOf(resp), err
}

// Buildpacks lists the buildpacks in the order in which they are tried.
func (c *Client) Buildpacks(ctx context.Context, q Query) ([]v3.Buildpack, error) {
	return List[v3.Buildpack](ctx, c, "/v3/buildpacks", q)
}

// CreateBuildpack makes an empty buildpack, to be uploaded to.
func (c *Client) CreateBuildpack(ctx context.Context, b v3.BuildpackCreate) (v3.Buildpack, error) {
	var out v3.Buildpack
	_, err := c.do(ctx, http.MethodPost, "/v3/buildpacks", b, &out)
	return out, err
}

// UpdateBuildpack changes a buildpack.
func (c *Client) UpdateBuildpack(ctx context.Context, guid string, u v3.BuildpackUpdate) (v3.Buildpack, error) {
	var out v3.Buildpack
	_, err := c.do(ctx, http.MethodPatch, "/v3/buildpacks/"+guid, u, &out)
	return out, err
}

// UploadBuildpack gives a buildpack its content, a zip; follow the job with
// WaitJob. Name it after the file.
func (c *Client) UploadBuildpack(ctx context.Context, guid string, u Upload) (job string, err error) {
	resp, err := c.upload(ctx, "/v3/buildpacks/"+guid+"/upload", u, nil, nil)
	return jobOf(resp), err
}

// DeleteBuildpack removes a buildpack.
func (c *Client) DeleteBuildpack(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/buildpacks/"+guid, nil)
}

// LogStreamOptions say where a log stream begins and ends.
type LogStreamOptions struct {
	Since       int64    // nanoseconds; 0: from now on
	Recent      int      // begin this many lines back
	NoFollow    bool     // end after what is there
	SourceTypes []string // only these, such as STG; empty: all
	Version     string   // only what instances of this version wrote; empty: all
}

func (o LogStreamOptions) query() Query {
	q := Query{}
	if o.Since != 0 {
		q = q.Set("since", strconv.FormatInt(o.Since, 10))
	}
	if o.Recent != 0 {
		q = q.Set("recent", strconv.Itoa(o.Recent))
	}
	if o.NoFollow {
		q = q.Set("follow", "false")
	}
	if o.Version != "" {
		q = q.Set("version", o.Version)
	}
	if len(o.SourceTypes) > 0 {
		q = q.In("source_types", o.SourceTypes...)
	}
	return q
}
