package node

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestLabel speaks to a server of Kubernetes' manners; the real one is asked in
// the tests of Kubernetes.
func TestLabel(t *testing.T) {
	var got []string
	answer := http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = []string{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)}
		w.WriteHeader(answer)
		io.WriteString(w, `{"kind":"Status","message":"nodes \"n1\" is what it is"}`)
	}))
	defer server.Close()
	folder := t.TempDir()
	c := &cluster{server: server.URL, folder: folder, node: "n1"}

	err := c.setLabel(t.Context(), true)
	contains(t, "the error", errorText(err), label, "node n1", "automountServiceAccountToken")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, data := range map[string][]byte{"token": []byte("secret\n"), "ca.crt": ca} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for installed, patch := range map[bool]string{true: `"true"`, false: "null"} {
		if err := c.setLabel(t.Context(), installed); err != nil {
			t.Fatal(err)
		}
		want := []string{"PATCH", "/api/v1/nodes/n1", "Bearer secret", "application/merge-patch+json", `{"metadata":{"labels":{"` + label + `":` + patch + `}}}`}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%q was sent, not %q", got[i], want[i])
			}
		}
	}
	answer = http.StatusForbidden
	contains(t, "the error", errorText(c.setLabel(t.Context(), true)), "is what it is", "verb patch")

	if err := os.WriteFile(filepath.Join(folder, "ca.crt"), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, "the error", errorText(c.setLabel(t.Context(), true)), "no certificate", "ca.crt")
}
