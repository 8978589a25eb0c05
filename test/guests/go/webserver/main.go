// Webserver is a program of the size that services have: Go's HTTP server and
// client, TLS, templates and JSON. Without an argument it only says so.
package main

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"image/png"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("hello from a web server in Go")
		return
	}
	page := template.Must(template.New("page").Parse("<h1>{{.}}</h1>\n"))
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _ = page.Execute(w, r.URL.Path) })
	http.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) })
	http.HandleFunc("/xml", func(w http.ResponseWriter, r *http.Request) { _ = xml.NewEncoder(w).Encode(r.URL.Path) })
	http.HandleFunc("/png", func(w http.ResponseWriter, r *http.Request) {
		if picture, err := png.Decode(r.Body); err == nil {
			_ = png.Encode(w, picture)
		}
	})
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}}
	if _, err := client.Get(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], nil))
}
