package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// label is what the RuntimeClass selects nodes by.
const label = "io.containerd.wasm.v1/installed"

// cluster is the Kubernetes API as a pod reaches it.
type cluster struct {
	server string // its URL
	folder string // token and ca.crt of the pod's service account
	node   string // the node's name
}

// inCluster reads what the kubelet gives to a pod; nil outside of Kubernetes.
func inCluster() (*cluster, error) {
	address, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if address == "" {
		return nil, nil
	}
	node := os.Getenv("NODE_NAME")
	if node == "" {
		return nil, fmt.Errorf("NODE_NAME is not set; give it the pod's field spec.nodeName, as the DaemonSet in deploy/kubernetes does")
	}
	return &cluster{
		server: "https://" + net.JoinHostPort(address, port),
		folder: "/var/run/secrets/kubernetes.io/serviceaccount",
		node:   node,
	}, nil
}

// setLabel gives the node the label, or takes it away.
func (c *cluster) setLabel(ctx context.Context, installed bool) error {
	if c == nil {
		return nil
	}
	var value any // null removes, as RFC 7386 has it
	if installed {
		value = "true"
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{label: value}}})
	if err != nil {
		return err
	}
	if err := c.patchNode(ctx, patch); err != nil {
		return fmt.Errorf("set the label %s of node %s: %w", label, c.node, err)
	}
	return nil
}

func (c *cluster) patchNode(ctx context.Context, patch []byte) error {
	// Both are read each time: the kubelet renews them.
	token, err := os.ReadFile(filepath.Join(c.folder, "token"))
	if err != nil {
		return fmt.Errorf("the pod's service account: %w; the pod needs automountServiceAccountToken", err)
	}
	ca, err := os.ReadFile(filepath.Join(c.folder, "ca.crt"))
	if err != nil {
		return fmt.Errorf("the pod's service account: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("the pod's service account: no certificate in %s/ca.crt", c.folder)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.server+"/api/v1/nodes/"+url.PathEscape(c.node), bytes.NewReader(patch))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	request.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var status struct{ Message string }
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = string(body)
	}
	err = fmt.Errorf("%s: %s", answer.Status, status.Message)
	if answer.StatusCode == http.StatusForbidden {
		err = fmt.Errorf("%w; the service account needs the verb patch on nodes", err)
	}
	return err
}
