package oci

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Prefix begins the names of this runtime's annotations. They are a pod's
// settings, and count only where the administrator allows them.
const Prefix = "io.containerd.wasm.v1."

// AnnotationModule names the module or its function, in the form of the first
// argument ("/app.wasm", "/app.wasm#function", "#function"). The arguments stay
// as they are.
const AnnotationModule = "module"

// AnnotationListen names the addresses at which the container's first process
// listens, as tcp://ADDRESS:PORT, with commas between several: its guest finds the
// sockets as descriptors from 4 on.
const AnnotationListen = "listen"

// annotations are all that there are.
var annotations = []string{AnnotationModule, AnnotationListen}

// CheckAnnotation says whether there is an annotation of that name, without
// Prefix, for the administrator to allow.
func CheckAnnotation(name string) error {
	if !slices.Contains(annotations, name) {
		return fmt.Errorf("there is no annotation %s; known are: %s: %w",
			quote(Prefix+name), strings.Join(annotations, ", "), errdefs.ErrInvalidArgument)
	}
	return nil
}

// What crun and the images made for it call Wasm. They only say what the
// container is, so nobody has to allow them.
const (
	crunHandler = "run.oci.handler"
	crunVariant = "module.wasm.image/variant"
)

// told is what annotations say.
type told struct {
	entry  entry
	listen []netip.AddrPort
	wasm   bool
}

// readAnnotations reads the annotations of a runtime spec, of which those in
// allowed count. One that does not count is an error: somebody believes that it
// does.
func readAnnotations(spec map[string]string, allowed []string) (t told, err error) {
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		name, ours := strings.CutPrefix(key, Prefix)
		if !ours {
			continue
		}
		if !slices.Contains(annotations, name) {
			return told{}, fmt.Errorf("annotation %s: there is none of this name; known are: %s: %w",
				quote(key), strings.Join(annotations, ", "), errdefs.ErrInvalidArgument)
		}
		if !slices.Contains(allowed, name) {
			return told{}, fmt.Errorf("annotation %s: not allowed; the administrator allows it in the runtime's options, by Annotations = [%q]: %w",
				quote(key), name, errdefs.ErrPermissionDenied)
		}
	}
	if value, ok := spec[Prefix+AnnotationModule]; ok {
		if value == "" {
			return told{}, fmt.Errorf("annotation %q: empty; write path.wasm, path.wasm#function or #function: %w",
				Prefix+AnnotationModule, errdefs.ErrInvalidArgument)
		}
		if t.entry, err = parseEntry(fmt.Sprintf("annotation %q", Prefix+AnnotationModule), value); err != nil {
			return told{}, err
		}
	}

	if value, ok := spec[Prefix+AnnotationListen]; ok {
		if t.listen, err = parseListen(value); err != nil {
			return told{}, fmt.Errorf("annotation %q: %w: %w", Prefix+AnnotationListen, err, errdefs.ErrInvalidArgument)
		}
	}

	for key, values := range map[string][]string{
		crunHandler: {"wasm"},
		crunVariant: {"compat", "compat-smart"},
	} {
		value, ok := spec[key]
		if ok && !slices.Contains(values, value) {
			return told{}, fmt.Errorf("annotation %q: %s is not understood; this runtime knows %s: %w",
				key, quote(value), strings.Join(values, " and "), errdefs.ErrInvalidArgument)
		}
	}
	// The smart variant is Wasm only where the file looks like it.
	t.wasm = spec[crunHandler] == "wasm" || spec[crunVariant] == "compat"
	return t, nil
}

// maxListen bounds the addresses of a container.
const maxListen = 64

// parseListen reads tcp://ADDRESS:PORT, or several with commas between them.
func parseListen(value string) (addresses []netip.AddrPort, err error) {
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		host, tcp := strings.CutPrefix(text, "tcp://")
		address, err := netip.ParseAddrPort(host)
		if !tcp || err != nil || address.Port() == 0 {
			return nil, fmt.Errorf("%s is no address to listen at; write tcp://0.0.0.0:8080 or tcp://[::]:8080", quote(text))
		}
		if slices.Contains(addresses, address) {
			return nil, fmt.Errorf("%s is there twice", quote(text))
		}
		if addresses = append(addresses, address); len(addresses) > maxListen {
			return nil, fmt.Errorf("more than %d addresses", maxListen)
		}
	}
	return addresses, nil
}
