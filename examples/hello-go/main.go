// Command hello-go greets, and behaves badly when asked to: a small app to
// try a platform with.
//
//	GET  /              a greeting that says which app, version and instance answers
//	GET  /healthz       200 while it is well; POST makes it unwell
//	GET  /env           the names of its environment, ?name=NAME for one value
//	GET  /slow?for=2s   answers after a while
//	GET  /stream?for=5s one line a second
//	POST /exit/3        ends the program with that status
//	POST /leak/64       takes and keeps so many megabytes
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// version is what the greeting shows unless APP_VERSION says otherwise.
const version = "1.0"

func main() {
	log.SetFlags(0)
	port := cmp.Or(os.Getenv("PORT"), "8080")
	server := &http.Server{Addr: ":" + port, Handler: newApp()}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		log.Print("stopping")
		limited, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		server.Shutdown(limited)
	}()
	log.Printf("%s %s listens at port %s", name(), appVersion(), port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

func newApp() http.Handler {
	var unwell atomic.Bool
	var kept [][]byte
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello from %s %s, instance %s\n", name(), appVersion(), cmp.Or(os.Getenv("CF_INSTANCE_INDEX"), "0"))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if unwell.Load() {
			http.Error(w, "unwell", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("POST /healthz", func(w http.ResponseWriter, r *http.Request) { unwell.Store(true) })
	mux.HandleFunc("GET /env", env)
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(duration(r, 2*time.Second)):
			io.WriteString(w, "done\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		for end := time.Now().Add(duration(r, 5*time.Second)); time.Now().Before(end) && r.Context().Err() == nil; time.Sleep(time.Second) {
			fmt.Fprintln(w, time.Now().Format(time.TimeOnly))
			http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("POST /exit/{status}", func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.PathValue("status"))
		log.Printf("asked to exit with status %d", status)
		fmt.Fprintf(w, "exiting with status %d\n", status)
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(status) })
	})
	mux.HandleFunc("POST /leak/{megabytes}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("megabytes"))
		block := make([]byte, n<<20)
		for i := range block {
			block[i] = byte(i)
		}
		kept = append(kept, block)
		fmt.Fprintf(w, "keeping %d more megabytes\n", n)
	})
	return mux
}

// name is the app's name as the platform tells it.
func name() string {
	var vcap struct {
		Name string `json:"application_name"`
	}
	json.Unmarshal([]byte(os.Getenv("VCAP_APPLICATION")), &vcap)
	return cmp.Or(vcap.Name, "hello-go")
}

func appVersion() string { return cmp.Or(os.Getenv("APP_VERSION"), version) }

func env(w http.ResponseWriter, r *http.Request) {
	if one := r.FormValue("name"); one != "" {
		fmt.Fprintln(w, os.Getenv(one))
		return
	}
	all := os.Environ()
	slices.Sort(all)
	for _, kv := range all {
		key, _, _ := strings.Cut(kv, "=")
		fmt.Fprintln(w, key)
	}
}

func duration(r *http.Request, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(r.FormValue("for")); err == nil {
		return d
	}
	return otherwise
}
