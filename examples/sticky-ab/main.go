// Command sticky-ab is a page with a button whose colour is tried out on real
// visitors: one version shows it blue, the other green.
//
//	GET  /      the page; which colour, in a header and in the text
//	POST /buy   somebody pressed the button; it is written to the log
//
// COLOR is the colour.
package main

import (
	"cmp"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(0)
	color := cmp.Or(os.Getenv("COLOR"), "blue")
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<form method=post action=/buy><button style=\"background:%s\">Buy</button></form> %[1]s\n", color)
	})
	http.HandleFunc("POST /buy", func(w http.ResponseWriter, _ *http.Request) {
		log.Printf("bought with the %s button", color)
		fmt.Fprintln(w, "Thank you.")
	})
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8080"), nil))
}
