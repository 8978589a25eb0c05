package bootstrap

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// FuzzReadRequest gives `start` an input of any generation of daemons, or of none.
// It is answered in the protocol in which it came.
func FuzzReadRequest(f *testing.F) {
	options := &runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = true")}
	packed, err := anypb.New(options)
	if err != nil {
		f.Fatal(err)
	}
	params := &bootapi.BootstrapParams{InstanceID: "c1", Namespace: "default", ContainerdGrpcAddress: "/c.sock", SocketDir: proto.String("/run/s")}
	if err := params.AddExtension(packed); err != nil {
		f.Fatal(err)
	}
	for _, m := range []proto.Message{packed, params, &bootapi.BootstrapParams{InstanceID: "c2", Namespace: "default"}, &anypb.Any{TypeUrl: "c1", Value: []byte("default")}} {
		input, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("c1", "default", "/run/containerd.sock", input)
	}
	f.Add("c1", "default", "", []byte{})
	f.Add("", "default", "", []byte{})
	f.Add("a\nb", "\x1b[31m", "", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, namespace, address string, input []byte) {
		if bytes.Contains(input, []byte("/")) && namesFile(input) {
			return // any file of this machine
		}
		args := arguments{action: "start", id: id, namespace: namespace, address: address}
		r, err := readRequest(args, bytes.NewReader(input))
		if err != nil {
			sentence.Check(t, err, "start: ", "runtime options: ")
			return
		}
		if r.id != id || r.namespace != namespace || id == "" || namespace == "" {
			t.Errorf("-id %q -namespace %q became %q, %q", id, namespace, r.id, r.namespace)
		}
		var params bootapi.BootstrapParams
		if repeats := proto.Unmarshal(input, &params) == nil && params.InstanceID == id && params.Namespace == namespace; repeats != r.protobuf {
			t.Errorf("the input repeats the command line: %v; it was taken for bootstrap parameters: %v", repeats, r.protobuf)
		}
		socket, err := socketAddress(r, id)
		if err != nil {
			sentence.Check(t, err, "socket directory ")
			return
		}
		if again, _ := socketAddress(r, id); again != socket {
			t.Errorf("the address is %s, and then %s", socket, again)
		}
		if other, _ := socketAddress(r, id+"x"); other == socket {
			t.Errorf("another group has the address %s, too", socket)
		}
		var answer bytes.Buffer
		if err := r.answer(&answer, socket); err != nil {
			t.Fatal(err)
		}
		told := answer.String()
		if r.protobuf {
			var result bootapi.BootstrapResult
			if err := proto.Unmarshal(answer.Bytes(), &result); err != nil {
				t.Fatal(err)
			}
			told = result.Address
		}
		if told != socket {
			t.Errorf("the address %q is told as %q", socket, told)
		}
	})
}

// namesFile says whether options among the input name a file to be read.
func namesFile(input []byte) bool {
	isPath := func(a *anypb.Any) bool {
		var o runtimeoptions.Options
		return proto.Unmarshal(a.GetValue(), &o) == nil && o.ConfigPath != ""
	}
	var params bootapi.BootstrapParams
	if proto.Unmarshal(input, &params) == nil {
		for _, e := range params.Extensions {
			if isPath(e.GetValue()) {
				return true
			}
		}
	}
	var packed anypb.Any
	return proto.Unmarshal(input, &packed) == nil && isPath(&packed)
}

// FuzzArguments reads command lines. What a daemon writes is read as it is meant,
// whatever the values are.
func FuzzArguments(f *testing.F) {
	f.Add("c1", "default", "/run/containerd.sock", "start", true)
	f.Add("-id", "--", "", "", false)
	f.Add("=", "-h", "\x00", "delete", true)
	f.Fuzz(func(t *testing.T, id, namespace, address, action string, debug bool) {
		line := []string{"-namespace", namespace, "-address", address, "-publish-binary", "/usr/bin/containerd", "-id", id}
		if debug {
			line = append(line, "-debug")
		}
		got, err := parseArguments(append(line, "--", action))
		if want := (arguments{action: action, id: id, namespace: namespace, address: address, debug: debug}); err != nil || got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
		// Any line at all.
		if _, err := parseArguments([]string{id, namespace, address, action}); err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
	})
}

// FuzzGroup reads the pod of a container out of its config.json.
func FuzzGroup(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}`))
	f.Add([]byte(`{"annotations":{"io.kubernetes.cri-o.SandboxID":"pod","io.containerd.runc.v2.group":""}}`))
	f.Add([]byte(`{"annotations":{"io.containerd.runc.v2.group":"\u0000\n"}}`))
	f.Add([]byte(`{"annotations":[]}`))
	f.Add([]byte("{\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, config []byte) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
			t.Fatal(err)
		}
		pod, err := group(dir, "c1")
		if err != nil {
			sentence.Check(t, err, "container c1: config.json: ")
			return
		}
		var spec struct{ Annotations map[string]string }
		if err := json.Unmarshal(config, &spec); err != nil {
			t.Errorf("%q is not a spec: %v", config, err)
		}
		named := pod == "c1"
		for _, value := range spec.Annotations {
			named = named || value == pod
		}
		if !named || pod == "" {
			t.Errorf("the group is %q", pod)
		}
		socket, err := socketAddress(request{socketDir: "/run/containerd/s"}, pod)
		if err != nil || filepath.Dir(socketPath(socket)) != "/run/containerd/s" || strings.ContainsAny(socketPath(socket), "\x00\n") {
			t.Errorf("%v: the pod %q listens at %q", err, pod, socket)
		}
	})
}
