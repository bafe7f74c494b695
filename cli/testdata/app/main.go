// Command app is what the scripts push. Its environment says how it behaves.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	fmt.Println("app is starting")
	if code := os.Getenv("EXIT"); code != "" {
		fmt.Fprintln(os.Stderr, "app ends with", code)
		var n int
		fmt.Sscan(code, &n)
		os.Exit(n)
	}
	if os.Getenv("DEAF") != "" {
		select {}
	}
	if d, err := time.ParseDuration(os.Getenv("SLOW")); err == nil {
		time.Sleep(d)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "answer=%s index=%s version=%s path=%s\n",
			os.Getenv("ANSWER"), os.Getenv("CF_INSTANCE_INDEX"), os.Getenv("VERSION"), r.URL.Path)
	})
	http.HandleFunc("/die", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stderr, "app was told to die")
		os.Exit(42)
	})
	http.HandleFunc("/say", func(_ http.ResponseWriter, r *http.Request) { fmt.Println("said:", r.URL.RawQuery) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("PORT"), nil))
	os.Exit(1)
}
