// Listener is a web server on the socket that it is given as descriptor 4.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.FileListener(os.NewFile(4, "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "listener:", err)
		os.Exit(1)
	}
	fmt.Println("serving")
	err = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "you asked for", r.URL.Path) }))
	fmt.Fprintln(os.Stderr, "listener:", err)
}
