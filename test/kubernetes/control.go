package kubernetes

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	server = "https://" + NodeIP + ":6443"
	etcd   = "http://127.0.0.1:2379"
)

func (c *Cluster) kubeconfig() string  { return filepath.Join(c.Dir, "kubeconfig") }
func (c *Cluster) tokens() string      { return filepath.Join(c.Dir, "tokens.csv") }
func (c *Cluster) accountKey() string  { return filepath.Join(c.Dir, "accounts.key") }
func (c *Cluster) certificate() string { return filepath.Join(c.Dir, "pki", "apiserver.crt") }

// writeKeys writes what the cluster's programs know each other by: one token for
// all of them and for kubectl, and the key that signs service accounts' tokens.
func (c *Cluster) writeKeys() error {
	raw := make([]byte, 16)
	rand.Read(raw)
	token := hex.EncodeToString(raw)
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
users: [{name: admin, user: {token: %s}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
`, token, server, c.certificate())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return errors.Join(
		os.WriteFile(c.kubeconfig(), []byte(kubeconfig), 0o600),
		os.WriteFile(c.tokens(), []byte(token+`,admin,admin,"system:masters"`+"\n"), 0o600),
		os.WriteFile(c.accountKey(), block, 0o600),
	)
}

// startAPI starts etcd and the API server, which waits for it.
func (c *Cluster) startAPI(context.Context) error {
	err := c.startControl("etcd",
		"--data-dir="+filepath.Join(c.Dir, "etcd"),
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // nothing is to be found again
	)
	if err != nil {
		return err
	}
	return c.startControl("kube-apiserver",
		"--etcd-servers="+etcd,
		"--bind-address="+NodeIP, "--advertise-address="+NodeIP,
		"--cert-dir="+filepath.Dir(c.certificate()), // where it makes its certificate
		"--token-auth-file="+c.tokens(),
		"--service-account-issuer="+server,
		"--service-account-key-file="+c.accountKey(),
		"--service-account-signing-key-file="+c.accountKey(),
		"--service-cluster-ip-range=10.88.78.0/24",
		"--kubelet-preferred-address-types=InternalIP",
		"--allow-privileged",
	)
}

// waitAPI waits until the API server says that it is ready. The certificate by
// which it is known is there only when it listens.
func (c *Cluster) waitAPI(ctx context.Context) error {
	return c.wait(ctx, "the API server is ready", func() error {
		if _, err := os.Stat(c.certificate()); err != nil {
			return err
		}
		_, err := c.kubectl(ctx, "", "get", "--raw", "/readyz")
		return err
	})
}

// startNode starts what needs an API server.
func (c *Cluster) startNode(ctx context.Context) error {
	return errors.Join(
		c.startControl("kube-controller-manager",
			"--kubeconfig="+c.kubeconfig(),
			"--service-account-private-key-file="+c.accountKey(),
			"--root-ca-file="+c.certificate(),
			"--leader-elect=false",
		),
		c.startControl("kube-scheduler", "--kubeconfig="+c.kubeconfig(), "--leader-elect=false"),
		c.StartKubelet(ctx),
	)
}

func (c *Cluster) makeRuntimeClasses(ctx context.Context) error {
	var classes []string
	for _, handler := range []string{Wasm, WasmShim, Wasm + Listening, WasmShim + Listening, Runc} {
		classes = append(classes, fmt.Sprintf("{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: %[1]s}, handler: %[1]s}\n", handler))
	}
	_, err := c.kubectl(ctx, strings.Join(classes, "---\n"), "create", "-f", "-")
	return err
}

// waitNode waits for what the first pod needs, too: the service account.
func (c *Cluster) waitNode(ctx context.Context) error {
	return c.wait(ctx, "the node is ready", func() error {
		ready, err := c.kubectl(ctx, "", "get", "node", NodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.taints}`)
		if err != nil {
			return err
		}
		if ready != "True " {
			return fmt.Errorf("ready, and taints: %s", ready)
		}
		_, err = c.kubectl(ctx, "", "get", "serviceaccount/default", "configmap/kube-root-ca.crt")
		return err
	})
}
