package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func testVolumes(t *testing.T, class string) {
	host := filepath.Join(cluster.Dir, "host-"+class)
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("of the node"), 0o644); err != nil {
		t.Fatal(err)
	}
	mounts := `
  - {name: empty, mountPath: /empty}
  - {name: memory, mountPath: /memory}
  - {name: config, mountPath: /config}
  - {name: config, mountPath: /one/shape, subPath: shape}
  - {name: secret, mountPath: /secret}
  - {name: projected, mountPath: /projected}
  - {name: downward, mountPath: /downward}
  - {name: host, mountPath: /host}
  - {name: host, mountPath: /host-ro, readOnly: true, recursiveReadOnly: Enabled}
  - {name: empty, mountPath: /sub, subPathExpr: "$(POD)/below"}
  - {name: image, mountPath: /image}
  - {name: changing, mountPath: /changing}
`
	p := newPod(t, class, "volumes", fmt.Sprintf(`
volumes:
- {name: empty, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
- {name: config, configMap: {name: settings}}
- {name: secret, secret: {secretName: password}}
- name: projected
  projected:
    sources:
    - {configMap: {name: settings, items: [{key: colour, path: deep/colour}]}}
    - {secret: {name: password}}
    - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
    - {serviceAccountToken: {path: token, audience: test}}
- {name: downward, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}}
- {name: host, hostPath: {path: %[1]q, type: Directory}}
- {name: changing, configMap: {name: changing-%[3]s}}
- {name: image, image: {reference: test.local/linux:1, pullPolicy: Never}}
containers:
- name: wasm
  image: test.local/wasm:1
  env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts:%[2]s
- name: linux
  image: test.local/linux:1
  env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts:%[2]s
`, host, mounts, class))
	p.ready(t)
	inBoth := func(path, want string) func(*testing.T) {
		return func(t *testing.T) {
			for _, c := range []string{"wasm", "linux"} {
				equal(t, path+" in "+c, p.read(t, c, path), want)
			}
		}
	}
	shared := func(folder string) func(*testing.T) {
		return func(t *testing.T) {
			p.exec(t, "wasm", "/files.wasm", "write", folder+"/written", "by a guest")
			inBoth(folder+"/written", "by a guest")(t)
		}
	}
	readOnly := func(folder string) func(*testing.T) {
		return func(t *testing.T) {
			p.execFails(t, "wasm", "Read-only file system", "/files.wasm", "write", folder+"/written", "x")
			p.execFails(t, "linux", "Read-only file system", "touch", folder+"/written")
		}
	}
	each(t,
		sub{"emptyDir", shared("/empty")},
		sub{"emptyDir in memory", shared("/memory")},
		sub{"configMap", inBoth("/config/colour", "blue")},
		sub{"configMap is read-only", readOnly("/config")},
		sub{"configMap by subPath", inBoth("/one/shape", "round")},
		sub{"secret", inBoth("/secret/word", "sesame")},
		sub{"projected configMap", inBoth("/projected/deep/colour", "blue")},
		sub{"projected secret", inBoth("/projected/word", "sesame")},
		sub{"projected downwardAPI", inBoth("/projected/name", p.name)},
		sub{"projected token", func(t *testing.T) {
			equal(t, "the token", p.read(t, "wasm", "/projected/token"), p.read(t, "linux", "/projected/token"))
		}},
		sub{"downwardAPI labels", inBoth("/downward/labels", `app="`+p.name+`"`)},
		sub{"downwardAPI annotation", inBoth("/downward/note", "seen")},
		sub{"hostPath", func(t *testing.T) {
			inBoth("/host/file", "of the node")(t)
			shared("/host")(t)
			if data, err := os.ReadFile(filepath.Join(host, "written")); string(data) != "by a guest" {
				t.Errorf("the node reads %q, %v", data, err)
			}
		}},
		sub{"hostPath read-only, recursively", func(t *testing.T) {
			inBoth("/host-ro/file", "of the node")(t)
			readOnly("/host-ro")(t)
		}},
		sub{"emptyDir by subPathExpr", func(t *testing.T) {
			shared("/sub")(t)
			inBoth("/empty/"+p.name+"/below/written", "by a guest")(t)
		}},
		sub{"image", func(t *testing.T) {
			contains(t, "its files", p.exec(t, "wasm", "/files.wasm", "ls", "/image"), "serve\n")
			contains(t, "its files", p.exec(t, "linux", "ls", "/image"), "serve\n")
			readOnly("/image")(t)
		}},
		sub{"a changed configMap is seen", func(t *testing.T) {
			kubectl(t, "patch", "configmap", "changing-"+class, "-p", `{"data":{"state":"after"}}`)
			for deadline := time.Now().Add(45 * time.Second); p.read(t, "wasm", "/changing/state") != "after"; time.Sleep(500 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("not after 45 s")
				}
			}
			inBoth("/changing/state", "after")(t)
		}},
	)
}
