// Serve is a server in a Linux container, for probes and clients: "ok" by HTTP, or
// TEXT at /echo/TEXT, and by gRPC that it is healthy.
//
//	serve HTTP-PORT GRPC-PORT
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: serve HTTP-PORT GRPC-PORT")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, serve(os.Args[1], os.Args[2]))
	os.Exit(1)
}

// serve returns when it cannot go on.
func serve(httpPort, grpcPort string) error {
	listener, err := net.Listen("tcp", ":"+grpcPort)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	failed := make(chan error, 2)
	go func() { failed <- s.Serve(listener) }()

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/echo/{text}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.PathValue("text")) })
	go func() { failed <- http.ListenAndServe(":"+httpPort, mux) }()
	fmt.Println("serving")
	return <-failed
}
