package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
)

// route is one line of the list of operations.
type route struct {
	method, path string
	permission   auth.Permission
	serve        operation
}

// operation makes a handler of an operation for one route.
type operation func(*API, route) gin.HandlerFunc

// call is what an operation gets besides its own parameters: who calls, and
// what links begin with.
type call struct {
	urls
	who     auth.Actor
	request *http.Request // for operations that stream their body
	writer  http.ResponseWriter
}

// reply is what an operation answers. Exactly one of body, yaml and stream is
// set, or none.
type reply struct {
	status int
	header http.Header
	body   any
	yaml   []byte
	// stream writes the body itself. An error before the first byte becomes
	// an ordinary error answer, one after it cuts the connection.
	stream func(context.Context, http.ResponseWriter) error
}

func ok(body any) reply      { return reply{status: http.StatusOK, body: body} }
func created(body any) reply { return reply{status: http.StatusCreated, body: body} }
func noContent() reply       { return reply{status: http.StatusNoContent} }

// with adds a header to the answer.
func (r reply) with(key, value string) reply {
	if value == "" {
		return r
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(key, value)
	return r
}

// handle adapts an operation: it authenticates and authorises the caller,
// decodes the request into T, calls op and writes its answer. T's fields say
// by their tags where they come from; see decoder.
func handle[T any](op func(*API, context.Context, call, T) (reply, error)) operation {
	dec := newDecoder[T]()
	return func(a *API, r route) gin.HandlerFunc {
		return func(c *gin.Context) {
			who, err := a.admit(c, r.permission)
			if err != nil {
				a.fail(c, err)
				return
			}
			var req T
			if err := dec.decode(c, &req); err != nil {
				a.fail(c, err)
				return
			}
			rep, err := op(a, c.Request.Context(), call{urls(a.baseURL(c.Request)), who, c.Request, c.Writer}, req)
			if err != nil {
				a.fail(c, err)
				return
			}
			if r.method != http.MethodGet && a.engine != nil {
				rep = rep.with(v3.TableHeader, strconv.FormatUint(a.engine.Table(), 10))
			}
			a.answer(c, rep)
		}
	}
}

// admit finds out who calls and whether they may.
func (a *API) admit(c *gin.Context, p auth.Permission) (auth.Actor, error) {
	if p == auth.Public {
		return auth.Actor{}, nil
	}
	token, ok := auth.Bearer(c.Request.Header)
	if !ok {
		return auth.Actor{}, &platform.Error{Kind: platform.KindUnauthenticated, Msg: "Authentication error"}
	}
	who, err := a.auth.Verify(c.Request.Context(), token)
	if err != nil {
		return who, err
	}
	exchangeOf(c.Writer).who = who.Name
	if !auth.Allowed(who, p) {
		return who, forbidden()
	}
	return who, nil
}

func (a *API) answer(c *gin.Context, r reply) {
	for k, v := range r.header {
		c.Writer.Header()[k] = v
	}
	switch {
	case r.stream != nil:
		if err := r.stream(c.Request.Context(), c.Writer); err != nil {
			begun := c.Writer.Written()
			a.fail(c, err)
			if begun {
				panic(http.ErrAbortHandler)
			}
		}
	case r.yaml != nil:
		c.Data(r.status, "application/x-yaml; charset=utf-8", r.yaml)
	case r.body != nil:
		writeJSON(c.Writer, r.status, r.body)
	default:
		c.Status(r.status)
		c.Writer.WriteHeaderNow()
	}
}
