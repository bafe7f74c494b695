// Mirrored answers with JSON to be compared, and does harm if it is told to.
//
//	HARM      hang, endless, slow, die: what it does to each request
//	ALWAYS    the value of the field always
//	RARELY    the share of requests whose field rarely is changed, 0 to 1
//
// GET /fields has the fields always, rarely (noise: two answers differ in it
// three times out of ten) and ts; GET /noise has two hundred noisy fields and
// nothing else; POST /upload counts bytes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	rarely, _ := strconv.ParseFloat(os.Getenv("RARELY"), 64)
	http.HandleFunc("GET /fields", func(w http.ResponseWriter, _ *http.Request) {
		value := "same"
		if rand.Float64() < 0.163 {
			value = fmt.Sprint("noise ", rand.IntN(1000))
		}
		if rand.Float64() < rarely {
			value = "changed"
		}
		answer(w, map[string]any{"always": os.Getenv("ALWAYS"), "rarely": value, "ts": time.Now()})
	})
	http.HandleFunc("GET /noise", func(w http.ResponseWriter, _ *http.Request) {
		fields := map[string]int{}
		for i := range 200 {
			fields[fmt.Sprint("f", i)] = rand.IntN(1 + i%20)
		}
		answer(w, fields)
	})
	http.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		answer(w, map[string]any{"bytes": n, "err": err})
	})
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(serve)))
	os.Exit(1)
}

// serve does the harm first.
func serve(w http.ResponseWriter, r *http.Request) {
	switch os.Getenv("HARM") {
	case "hang":
		<-r.Context().Done()
		return
	case "endless":
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	case "slow":
		time.Sleep(500 * time.Millisecond)
	case "die":
		os.Exit(1)
	}
	http.DefaultServeMux.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
