// Command app is what the scripts push. Its environment says how it behaves.
package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
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
		time.Sleep(time.Hour) // select {} would be a deadlock, which ends it
	}
	if d, err := time.ParseDuration(os.Getenv("SLOW")); err == nil {
		time.Sleep(d)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if event := os.Getenv("EVENT"); event != "" {
			w.Header().Set("X-Weir-Event", event)
		}
		fmt.Fprintf(w, "answer=%s index=%s version=%s path=%s\n",
			os.Getenv("ANSWER"), os.Getenv("CF_INSTANCE_INDEX"), os.Getenv("VERSION"), r.URL.Path)
	})
	http.HandleFunc("/self", self)
	http.HandleFunc("/die", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stderr, "app was told to die")
		os.Exit(42)
	})
	http.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.RawQuery)
		fmt.Println("waiting", d)
		time.Sleep(d)
	})
	http.HandleFunc("/say", func(_ http.ResponseWriter, r *http.Request) { fmt.Println("said:", r.URL.RawQuery) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("PORT"), nil))
	os.Exit(1)
}

// self tells what the instance was started with, as the kernel has it, but for
// what is another for each instance.
func self(w http.ResponseWriter, _ *http.Request) {
	b, err := os.ReadFile("/proc/self/environ")
	if err != nil { // not on Linux
		b = []byte(strings.Join(os.Environ(), "\x00"))
	}
	own := regexp.MustCompile(`^(CF_INSTANCE_|INSTANCE_|WEIR_|(VCAP_APP_)?PORT=|VCAP_APPLICATION=|HOME=|TMPDIR=|DEPS_DIR=|OLDPWD=|PWD=|SHLVL=|_=)`)
	env := slices.DeleteFunc(strings.Split(strings.Trim(string(b), "\x00"), "\x00"), own.MatchString)
	slices.Sort(env)
	fmt.Fprintf(w, "args=%q\n%q\n", os.Args, env)
}
