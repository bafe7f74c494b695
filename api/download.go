package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/droplets/archive"
	"weir/internal/platform"
)

// downloadTime is how long a download URL is good to begin with.
const downloadTime = 5 * time.Minute

// A download is two requests: the first, with a token, is answered with a
// redirect to a signed URL; the second, without one, gets the bits. Clients
// of Cloud Foundry insist on that.

func (a *API) downloadDroplet(ctx context.Context, c call, req byGUID) (reply, error) {
	d, err := a.store.Droplet(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if d.State != platform.DropletStaged || d.Digest == "" {
		return reply{}, platform.Invalidf("Only staged droplets can be downloaded.")
	}
	app, err := a.store.App(ctx, d.AppGUID)
	if err != nil {
		return reply{}, err
	}
	data := map[string]any{"droplet_guid": d.GUID}
	if err := a.noteOn(ctx, c, app, "audit.app.droplet.download", data); err != nil {
		return reply{}, err
	}
	return a.redirect(c, "/v3/droplets/"+d.GUID+"/bits"), nil
}

func (a *API) downloadPackage(ctx context.Context, c call, req byGUID) (reply, error) {
	p, err := a.store.Package(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if p.State != platform.PackageReady {
		return reply{}, platform.Invalidf("Package has no bits to download.")
	}
	app, err := a.store.App(ctx, p.AppGUID)
	if err != nil {
		return reply{}, err
	}
	data := map[string]any{"package_guid": p.GUID}
	if err := a.noteOn(ctx, c, app, "audit.app.package.download", data); err != nil {
		return reply{}, err
	}
	return a.redirect(c, "/v3/packages/"+p.GUID+"/bits"), nil
}

func (a *API) redirect(c call, path string) reply {
	expires := strconv.FormatInt(time.Now().Add(downloadTime).Unix(), 10)
	q := url.Values{"expires": {expires}, "signature": {a.sign(path, expires)}}
	return reply{status: http.StatusFound}.with("Location", string(c.urls)+path+"?"+q.Encode())
}

func (a *API) sign(path, expires string) string {
	h := hmac.New(sha256.New, a.downloadKey[:])
	io.WriteString(h, path+"\n"+expires)
	return hex.EncodeToString(h.Sum(nil))
}

// signed reports whether a request's URL was made by redirect, and not too
// long ago.
func (a *API) signed(path string, req signedDownload) error {
	at, err := strconv.ParseInt(req.Expires, 10, 64)
	if err != nil || !hmac.Equal([]byte(a.sign(path, req.Expires)), []byte(req.Signature)) || time.Now().Unix() > at {
		return &platform.Error{
			Kind: platform.KindForbidden, Msg: "this download link is not valid, or not any more",
			Hint: "ask for the download again",
		}
	}
	return nil
}

type signedDownload struct {
	GUID      string `path:"guid"`
	Expires   string `query:"expires"`
	Signature string `query:"signature"`
}

func (a *API) dropletBits(ctx context.Context, _ call, req signedDownload) (reply, error) {
	if err := a.signed("/v3/droplets/"+req.GUID+"/bits", req); err != nil {
		return reply{}, err
	}
	d, err := a.store.Droplet(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	release, err := a.droplets.Lease(d.Digest)
	if err != nil {
		return reply{}, err
	}
	name := fmt.Sprintf("droplet_%s.tgz", d.GUID)
	return file(name, "application/gzip", func(ctx context.Context, w io.Writer) error {
		defer release()
		return a.droplets.Export(ctx, d.Digest, archive.TarGz, w)
	}), nil
}

func (a *API) packageBits(ctx context.Context, _ call, req signedDownload) (reply, error) {
	if err := a.signed("/v3/packages/"+req.GUID+"/bits", req); err != nil {
		return reply{}, err
	}
	p, err := a.store.Package(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	return file("package_"+p.GUID+".zip", "application/zip", func(ctx context.Context, w io.Writer) error {
		return a.droplets.OpenPackage(ctx, p.Digest, archive.Zip, w)
	}), nil
}

// file is an answer that streams a file of unknown size.
func file(name, contentType string, write func(context.Context, io.Writer) error) reply {
	return reply{stream: func(ctx context.Context, w http.ResponseWriter) error {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Disposition", `attachment; filename="`+strings.ReplaceAll(name, `"`, "")+`"`)
		return write(ctx, &patient{w, http.NewResponseController(w)})
	}}
}

// patient writes to a client that goes on taking.
type patient struct {
	w   io.Writer
	ctl *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.ctl.SetWriteDeadline(time.Now().Add(stallTimeout)) // not every connection has one
	n, err := p.w.Write(b)
	_ = p.ctl.SetWriteDeadline(time.Time{})
	return n, err
}

// Flush sends what was written so far.
func (p *patient) Flush() error {
	_ = p.ctl.SetWriteDeadline(time.Now().Add(stallTimeout))
	err := p.ctl.Flush()
	_ = p.ctl.SetWriteDeadline(time.Time{})
	return err
}
