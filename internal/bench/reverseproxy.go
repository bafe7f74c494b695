package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

// reverseProxyCommand is what this program is started with to be a proxy.
const reverseProxyCommand = "reverseproxy"

// reverseProxy is the proxy of Go's standard library, tuned as one can from
// outside: connections to the instance are kept, buffers are reused, nothing
// is logged. It ends when it is killed.
func reverseProxy(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%s needs PLAIN SECURE CERT KEY INSTANCE", reverseProxyCommand)
	}
	target := &url.URL{Scheme: "http", Host: args[4]}
	handler := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			MaxIdleConns: 0, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 75 * time.Second,
			DisableCompression: true, WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
		},
		BufferPool: &buffers{},
		ErrorLog:   log.New(io.Discard, "", 0), // loads end with requests under way
	}
	server := func(addr string) *http.Server {
		return &http.Server{Addr: addr, Handler: handler, ErrorLog: handler.ErrorLog, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
	}
	failed := make(chan error, 2) // one from each
	go func() { failed <- server(args[0]).ListenAndServe() }()
	go func() { failed <- server(args[1]).ListenAndServeTLS(args[2], args[3]) }()
	return <-failed
}

// buffers lends what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 64<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// asReverseProxy runs the proxy if this process was started to be it.
func asReverseProxy() {
	if len(os.Args) > 1 && os.Args[1] == reverseProxyCommand {
		fatal(reverseProxy(os.Args[2:]))
	}
}
