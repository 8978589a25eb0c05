package deploy

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	scheduling "k8s.io/api/node/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/deploy/kubernetes"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
)

// kinds are the API's own types, and those of kustomize and of
// runtime-class-manager as far as the manifests use them.
var kinds = map[string]func() any{
	"v1 Namespace":                                    func() any { return new(core.Namespace) },
	"v1 ServiceAccount":                               func() any { return new(core.ServiceAccount) },
	"v1 Service":                                      func() any { return new(core.Service) },
	"v1 Pod":                                          func() any { return new(core.Pod) },
	"apps/v1 DaemonSet":                               func() any { return new(apps.DaemonSet) },
	"apps/v1 Deployment":                              func() any { return new(apps.Deployment) },
	"node.k8s.io/v1 RuntimeClass":                     func() any { return new(scheduling.RuntimeClass) },
	"networking.k8s.io/v1 NetworkPolicy":              func() any { return new(networking.NetworkPolicy) },
	"autoscaling/v2 HorizontalPodAutoscaler":          func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"rbac.authorization.k8s.io/v1 ClusterRole":        func() any { return new(rbac.ClusterRole) },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() any { return new(rbac.ClusterRoleBinding) },
	"kustomize.config.k8s.io/v1beta1 Kustomization":   func() any { return new(kustomization) },
	"runtime.spinkube.dev/v1alpha1 Shim":              func() any { return new(shim) },
}

type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

type kustomization struct {
	header    `json:",inline"`
	Resources []string `json:"resources"`
	Patches   []struct {
		Target struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"target"`
		Patch string `json:"patch"`
	} `json:"patches"`
}

// shim has the fields of the resource that runtime-class-manager 0.2 defines
// (api/v1alpha1/shim_types.go of spinframework/runtime-class-manager).
type shim struct {
	header   `json:",inline"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		NodeSelector  map[string]string `json:"nodeSelector"`
		FetchStrategy struct {
			Platforms []struct {
				OS       string `json:"os"`
				Arch     string `json:"arch"`
				Location string `json:"location"`
				SHA256   string `json:"sha256"`
			} `json:"platforms"`
		} `json:"fetchStrategy"`
		RuntimeClass struct {
			Name    string `json:"name"`
			Handler string `json:"handler"`
		} `json:"runtimeClass"`
		RolloutStrategy struct {
			Type    string `json:"type"`
			Rolling struct {
				MaxUpdate int `json:"maxUpdate"`
			} `json:"rolling"`
		} `json:"rolloutStrategy"`
		ContainerdRuntimeOptions map[string]string `json:"containerdRuntimeOptions"`
	} `json:"spec"`
}

// TestManifests reads every manifest as the types that the API has for it: a
// field that is not known, or that is of another type, is an error.
func TestManifests(t *testing.T) {
	found := map[string][]any{}
	err := fs.WalkDir(kubernetes.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(kubernetes.Files, path)
		if err != nil {
			return err
		}
		for _, doc := range documents(t, data) {
			var h header
			if err := strict.Unmarshal(doc, &h); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			make, ok := kinds[h.APIVersion+" "+h.Kind]
			if !ok {
				t.Errorf("%s: kind %s %s", path, h.APIVersion, h.Kind)
				continue
			}
			object := make()
			if err := strict.UnmarshalStrict(doc, object); err != nil {
				t.Errorf("%s: %s: %v", path, h.Kind, err)
			}
			if k, ok := object.(*kustomization); ok {
				for _, r := range k.Resources {
					if _, err := fs.Stat(kubernetes.Files, filepath.Join(filepath.Dir(path), r)); err != nil {
						t.Errorf("%s: resources: %v", path, err)
					}
				}
			}
			found[h.Kind] = append(found[h.Kind], object)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range kinds {
		if _, name, _ := strings.Cut(kind, " "); len(found[name]) == 0 {
			t.Errorf("there is no %s among the manifests", name)
		}
	}

	class := found["RuntimeClass"][0].(*scheduling.RuntimeClass)
	if class.Handler != "wasm" || class.Scheduling.NodeSelector["io.containerd.wasm.v1/installed"] != "true" {
		t.Errorf("the RuntimeClass has handler %q on nodes %v; the installer gives others", class.Handler, class.Scheduling.NodeSelector)
	}
	for _, pod := range found["Pod"] {
		usesClass(t, pod.(*core.Pod).Spec, class.Name)
	}
	for _, deployment := range found["Deployment"] {
		usesClass(t, deployment.(*apps.Deployment).Spec.Template.Spec, class.Name)
	}
}

// TestPage holds the commands of docs/kubernetes.md to the manifests that they
// name; with a cluster, they are run by the tests of Kubernetes.
func TestPage(t *testing.T) {
	named := 0
	for _, word := range strings.Fields(docs.Commands(docs.Kubernetes)) {
		if path, ok := strings.CutPrefix(word, "deploy/kubernetes/"); ok {
			named++
			if _, err := fs.Stat(kubernetes.Files, path); err != nil {
				t.Error(err)
			}
		}
	}
	if named == 0 {
		t.Error("the page's commands name no manifest")
	}
}

func usesClass(t *testing.T, spec core.PodSpec, class string) {
	t.Helper()
	if spec.RuntimeClassName == nil || *spec.RuntimeClassName != class {
		t.Errorf("a pod of the examples has the runtimeClassName %v, not %q", spec.RuntimeClassName, class)
	}
}

// documents takes a file apart.
func documents(t *testing.T, data []byte) (all [][]byte) {
	t.Helper()
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := r.Read()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, doc)
	}
}
