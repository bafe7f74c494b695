package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	v3 "weir/api/v3"
	"weir/droplets"
	"weir/internal/platform"
	"weir/stager"
)

const (
	// maxMatches is how many files one resource_matches request may name.
	maxMatches = 5000
	// maxResources bounds the list of known files in an upload.
	maxResources = 32 << 20
)

type matchResources struct {
	Body v3.FileResources `body:"json" limit:"16"` // 5,000 files with long names
}

// matchResources answers with those of the files that the server has already.
func (a *API) matchResources(ctx context.Context, _ call, req matchResources) (reply, error) {
	files := req.Body.Resources
	if len(files) > maxMatches {
		return reply{}, platform.Invalidf("resources: at most %d can be asked for at once", maxMatches)
	}
	wanted := make([]droplets.Resource, 0, len(files))
	for _, f := range files {
		r, err := parseResource(f)
		if err != nil {
			return reply{}, err
		}
		wanted = append(wanted, droplets.Resource(r))
	}
	has, err := a.droplets.Match(ctx, wanted)
	if err != nil {
		return reply{}, err
	}
	matched := v3.FileResources{Resources: []v3.FileResource{}}
	for i, f := range files {
		if has[i] {
			matched.Resources = append(matched.Resources, f)
		}
	}
	return created(matched), nil
}

func parseResource(f v3.FileResource) (stager.Resource, error) {
	r := stager.Resource{Path: f.Path, SHA1: f.Checksum.Value, Size: f.SizeInBytes, Mode: 0o644}
	if f.SizeInBytes < 0 {
		return r, platform.Invalidf("resources: size_in_bytes of '%s' must be greater than or equal to 0", f.Path)
	}
	if f.Mode != "" {
		m, err := strconv.ParseUint(f.Mode, 8, 32)
		if err != nil {
			return r, platform.Invalidf("resources: mode of '%s' must be an octal number, not '%s'", f.Path, f.Mode)
		}
		r.Mode = fs.FileMode(m) & fs.ModePerm
	}
	return r, nil
}

func (a *API) uploadPackage(ctx context.Context, c call, req byGUID) (reply, error) {
	pkg, err := a.store.Package(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if pkg.State != platform.PackageAwaitingUpload {
		return reply{}, &platform.Error{
			Kind: platform.KindBadRequest, Title: "PackageBitsAlreadyUploaded",
			Msg: "Bits may be uploaded only once. Create a new package to upload different bits.",
		}
	}
	up, err := readUpload(c)
	if err != nil {
		return reply{}, err
	}
	defer up.close()
	if err := up.await(a.cfg.TempDir, a.cfg.UploadLimit); err != nil {
		return reply{}, err
	}
	pkg, err = a.stager.UploadPackage(ctx, c.actor(), req.GUID, up.bits, up.resources)
	if err != nil {
		return reply{}, invalidBits(up.blame(err))
	}
	return ok(c.pkg(pkg)), up.finish()
}

// invalidBits gives a refusal of what was uploaded the title Cloud Foundry has
// for it.
func invalidBits(err error) error {
	e, ok := errors.AsType[*platform.Error](err)
	if !ok || e.Kind != platform.KindInvalid && e.Kind != platform.KindBadRequest {
		return err
	}
	if _, named := titles[e.Title]; named {
		return err
	}
	return &platform.Error{
		Kind: e.Kind, Title: "AppBitsUploadInvalid", Msg: "The app upload is invalid: " + e.Msg, Hint: e.Hint, Err: e.Err,
	}
}

func (a *API) uploadDroplet(ctx context.Context, c call, req byGUID) (reply, error) {
	d, err := a.store.Droplet(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if d.State != platform.DropletAwaitingUpload {
		return reply{}, platform.Invalidf("Droplet may be uploaded only once. Create a new droplet to upload bits.")
	}
	up, err := onlyBits(c)
	if err != nil {
		return reply{}, err
	}
	return a.uploading(ctx, c, "droplet.upload", up, func(ctx context.Context) error {
		_, err := a.stager.UploadDroplet(ctx, c.actor(), req.GUID, up.bits)
		return err
	})
}

func (a *API) uploadBuildpack(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Buildpack(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	up, err := onlyBits(c)
	if err != nil {
		return reply{}, err
	}
	if ext := filepath.Ext(up.name); ext != ".zip" && ext != ".tgz" && ext != ".gz" && ext != ".tar" && ext != ".zst" {
		return reply{}, platform.Invalidf("'%s' is not a zip or tar", up.name)
	}
	return a.uploading(ctx, c, "buildpack.upload", up, func(ctx context.Context) error {
		_, err := a.stager.UploadBuildpack(ctx, c.actor(), req.GUID, up.name, up.bits)
		return err
	})
}

// uploading receives an upload whose answer is a job. The work needs the
// request's body, so it is done before the answer; the job that the client
// follows is complete by then, or tells what went wrong.
func (a *API) uploading(ctx context.Context, c call, operation string, up *upload, do func(context.Context) error) (reply, error) {
	failed := up.blame(do(ctx))
	if failed == nil {
		failed = up.finish()
	}
	if up.broken || ctx.Err() != nil {
		return reply{}, failed // nobody is there to follow a job
	}
	job, err := a.startJob(ctx, operation, false, func(context.Context) ([]string, error) { return nil, failed })
	return c.accepted(job), err
}

// upload is a multipart form on its way in. Nothing of its bits is held in
// memory.
type upload struct {
	form      *multipart.Reader
	bits      io.Reader // nil if there is no such part
	name      string    // file name of the bits
	listed    bool      // the part resources was there
	resources []stager.Resource
	broken    bool     // the client stopped sending
	spool     *os.File // holds the bits if the resources may come after them
}

func onlyBits(c call) (*upload, error) {
	up, err := readUpload(c)
	if err == nil && up.bits == nil {
		err = platform.Invalidf("Upload must include either resources or bits: there is no part 'bits'")
	}
	return up, err
}

// readUpload reads a form up to its bits.
func readUpload(c call) (*upload, error) {
	media, params, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, &platform.Error{
			Kind: platform.KindBadRequest, Title: "InvalidContentType",
			Msg: "Invalid content type, expected: multipart/form-data",
		}
	}
	up := &upload{}
	body := &watched{r: c.request.Body, ctl: http.NewResponseController(c.writer), broken: &up.broken}
	up.form = multipart.NewReader(body, params["boundary"])
	if err := up.next(); err != nil {
		return nil, up.blame(err)
	}
	return up, nil
}

// next reads parts until the bits or the end.
func (u *upload) next() error {
	for {
		part, err := u.form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the form: %w", err)
		}
		switch part.FormName() {
		case "resources":
			u.listed = true
			if err := u.readResources(part); err != nil {
				return err
			}
		case "bits", "buildpack", "droplet", "application":
			if u.bits != nil || u.spool != nil {
				return platform.Invalidf("there is more than one part 'bits'")
			}
			u.bits, u.name = part, filepath.Base(part.FileName())
			return nil
		}
	}
}

// await makes sure that the list of resources was read. A client may send it
// after the bits, which then have to be kept in a file meanwhile.
func (u *upload) await(dir string, limit int64) error {
	if u.bits == nil || u.listed {
		return nil
	}
	f, err := os.CreateTemp(dir, "upload-*")
	if err != nil {
		return fmt.Errorf("making a file for an upload: %w", err)
	}
	u.spool = f
	if err := os.Remove(f.Name()); err != nil { // so that nothing is left of it after a crash
		return fmt.Errorf("making a file for an upload: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(u.bits, limit+1))
	if err != nil {
		return u.blame(outOfSpace(err))
	}
	if n > limit {
		return &platform.Error{
			Kind: platform.KindTooLarge, Msg: fmt.Sprintf("the upload is larger than %d MB", limit>>20),
			Hint: "leave out what the app does not need with a .cfignore file",
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading an upload back: %w", err)
	}
	err = u.next()
	u.bits = f
	return u.blame(err)
}

func outOfSpace(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("keeping an upload: %w", err)
	}
	return &platform.Error{
		Kind: platform.KindExhausted, Msg: "the disk is full: the upload was not kept",
		Hint: "make room on the server's disk", Err: err,
	}
}

func (u *upload) close() {
	if u.spool != nil {
		u.spool.Close()
	}
}

// finish reads what comes after the bits, so that the connection can be used
// again and a form that breaks off is noticed.
func (u *upload) finish() error {
	if u.bits == nil || u.spool != nil {
		return nil
	}
	return u.blame(u.next())
}

// readResources reads the list of files that the server has already, in
// either of the two shapes Cloud Foundry knows.
func (u *upload) readResources(part io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(part, maxResources+1))
	if err != nil {
		return fmt.Errorf("reading the form: %w", err)
	}
	if len(b) > maxResources {
		return &platform.Error{Kind: platform.KindTooLarge, Msg: "the part 'resources' is too large"}
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	var list []struct {
		v3.FileResource
		FN   string `json:"fn"`
		SHA1 string `json:"sha1"`
		Size *int64 `json:"size"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return platform.Invalidf("the part 'resources' is not a list of resources: %s", err)
	}
	for _, f := range list {
		if f.FN != "" {
			f.Path, f.Checksum.Value = f.FN, f.SHA1
		}
		if f.Size != nil {
			f.SizeInBytes = *f.Size
		}
		r, err := parseResource(f.FileResource)
		if err != nil {
			return err
		}
		u.resources = append(u.resources, r)
	}
	return nil
}

// blame tells a client that stopped sending from other errors.
func (u *upload) blame(err error) error {
	if err == nil || !u.broken {
		return err
	}
	if _, isOurs := errors.AsType[*platform.Error](err); isOurs && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &platform.Error{
		Kind: platform.KindBadRequest, Title: "AppBitsUploadInvalid",
		Msg: "the upload ended before it was complete", Err: err,
	}
}

// stallTimeout is how long either side of a stream may keep the other waiting.
const stallTimeout = time.Minute

// watched notes when a body breaks off, or does not go on.
type watched struct {
	r      io.Reader
	ctl    *http.ResponseController
	broken *bool
}

func (w *watched) Read(b []byte) (int, error) {
	_ = w.ctl.SetReadDeadline(time.Now().Add(stallTimeout)) // not every connection has one
	n, err := w.r.Read(b)
	_ = w.ctl.SetReadDeadline(time.Time{})
	if err != nil && !errors.Is(err, io.EOF) {
		*w.broken = true
	}
	return n, err
}
