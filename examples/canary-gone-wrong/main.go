// Command canary-gone-wrong is a shop whose next version has a bug: now and
// then its cart cannot be reckoned up. One request of twenty fails, which no
// health check sees.
//
//	GET /       the shop
//	GET /cart   the cart; with BUG set, one of every BUG requests fails
//
// RELEASE is what it calls itself.
package main

import (
	"cmp"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
)

func main() {
	log.SetFlags(0)
	release := cmp.Or(os.Getenv("RELEASE"), "v1")
	bug, _ := strconv.Atoi(os.Getenv("BUG"))
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "shop %s: tea 4.20, cups 12.00\n", release)
	})
	http.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		if bug > 0 && rand.IntN(bug) == 0 {
			log.Printf("cart: no price for \"tea, large\" (request %s)", r.Header.Get("X-Vcap-Request-Id"))
			http.Error(w, "the cart cannot be reckoned up", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "cart %s: 16.20\n", release)
	})
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8080"), nil))
}
