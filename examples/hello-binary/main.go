// Command hello-binary is built before it is pushed: what weir gets is the
// program alone.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello from hello-binary, instance %s\n", os.Getenv("CF_INSTANCE_INDEX"))
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
