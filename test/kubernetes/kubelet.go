package kubernetes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// kubeletConfig has pods in the cgroup of the test, and nothing of the node that
// the machine does not give away: oom_score_adj below 0, more open files, iptables.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: "unix://%[1]s"
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
enforceNodeAllocatable: [pods]
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
makeIPTablesUtilChains: false
resolvConf: %[3]q
volumePluginDir: %[4]q
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
clusterDNS: [10.88.78.10]
clusterDomain: cluster.local
syncFrequency: 5s
nodeStatusUpdateFrequency: 2s
shutdownGracePeriod: 0s
serializeImagePulls: false
registerNode: true
`

// StartKubelet starts the kubelet, also again after it has ended.
func (c *Cluster) StartKubelet(context.Context) (err error) {
	resolv := filepath.Join(c.Dir, "resolv.conf")
	file := filepath.Join(c.Dir, "kubelet.yaml")
	text := fmt.Sprintf(kubeletConfig, c.Daemon.Address(), filepath.Base(c.Dir), resolv, filepath.Join(c.Dir, "volume-plugins"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	// Nobody answers at the cluster's address of DNS, either.
	if err := os.WriteFile(resolv, []byte("nameserver 10.88.78.11\n"), 0o644); err != nil {
		return err
	}
	c.kubelet, err = c.start("kubelet",
		"--config="+file,
		"--kubeconfig="+c.kubeconfig(),
		"--hostname-override="+NodeName,
		"--node-ip="+NodeIP,
		"--v=2",
	)
	return err
}

// KubeletLog is the file of the kubelet's log.
func (c *Cluster) KubeletLog() string { return filepath.Join(c.Dir, "kubelet.log") }
