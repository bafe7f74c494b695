// Package staticserver serves a directory of files as Cloud Foundry's
// staticfile buildpack does, configured by a file "Staticfile".
//
// It runs as an app's web process: one per instance, behind the router.
package staticserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// grace is how long requests in flight may take after SIGTERM.
const grace = 9 * time.Second

// Main is the sub-command "static-server [DIR]": it serves DIR, or the current
// directory, at $PORT until SIGTERM or SIGINT, and returns the exit code. The
// Staticfile is the one of the current directory.
func Main(args []string, out, errOut io.Writer) int {
	dir := "."
	switch {
	case len(args) == 1:
		dir = args[0]
	case len(args) > 1:
		fmt.Fprintln(errOut, "usage: weir static-server [DIR]")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := serve(ctx, dir, out, errOut); err != nil {
		fmt.Fprintln(errOut, "static-server:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, dir string, out, errOut io.Writer) error {
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	if err != nil {
		return fmt.Errorf("PORT is %q, not the number of a port", os.Getenv("PORT"))
	}
	conf, err := LoadConfig(".")
	if err != nil {
		return err
	}
	if os.Getenv("FORCE_HTTPS") != "" {
		conf.ForceHTTPS = true
	}
	handler, err := New(dir, conf)
	if err != nil {
		return err
	}
	defer handler.Close()
	host := os.Getenv("VCAP_APP_HOST")
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(port, 10)))
	if err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       5 * time.Minute, // longer than the router keeps connections
		ErrorLog:          log.New(errOut, "static-server: ", 0),
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		done <- server.Shutdown(limited)
	}()
	fmt.Fprintf(out, "serving %s at port %d\n", dir, port)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}
