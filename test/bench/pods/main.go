// Pods measures many pods on one node: how long they take from `kubectl apply` to
// running, and what memory they take, with this runtime, with and without a pause
// container, and with runc. The runtimes take turns in one cluster, and what
// counts is the ratio within one run.
//
//	pods [-n PODS] [-rounds ROUNDS] [-docs FILE [-update]]
//
// The environment is that of the tests under Kubernetes: E2E_BIN, E2E_GUESTS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/kubernetes"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/table"
)

const (
	wasmImage  = "bench.local/wasm:1"
	linuxImage = "bench.local/linux:1"
)

// kinds are the pods that are compared, the last one being what the others are
// compared with.
var kinds = []kind{
	{"Wasm, no pause container", kubernetes.WasmShim, wasmImage},
	{"Wasm, pause container", kubernetes.Wasm, wasmImage},
	{"Linux, runc", kubernetes.Runc, linuxImage},
}

type kind struct{ title, class, image string }

func main() {
	n := flag.Int("n", 100, "how many pods of each kind")
	rounds := flag.Int("rounds", 3, "how often they take turns")
	page := flag.String("docs", "", "the page that keeps the table")
	update := flag.Bool("update", false, "write the table to the page")
	flag.Parse()
	dir := isolate.Enter("pods", isolate.Network)
	if err := run(dir, *n, *rounds, *page, *update); err != nil {
		fmt.Fprintln(os.Stderr, "pods:", err)
		os.Exit(1)
	}
}

func run(dir string, n, rounds int, page string, update bool) (err error) {
	images, err := images()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	say := func(line string) { fmt.Println(" ", line) }
	cluster, err := kubernetes.Start(ctx, dir, os.Getenv("E2E_BIN"), images, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()

	measured := map[string][]figures{}
	for round := range rounds {
		for _, k := range kinds {
			f, err := measure(ctx, cluster, k, n)
			if err != nil {
				return fmt.Errorf("%s: %w", k.title, err)
			}
			say(fmt.Sprintf("round %d, %s: %s", round+1, k.title, f))
			measured[k.class] = append(measured[k.class], f)
		}
	}
	text := report(n, rounds, measured)
	fmt.Print(text)
	if page == "" || !update {
		return nil
	}
	return table.Keep(page, "pods", text, true, "make bench-pods UPDATE=1")
}

// images are a guest that sleeps and a server that waits.
func images() ([]image.Image, error) {
	serve := ""
	for _, folder := range filepath.SplitList(os.Getenv("E2E_BIN")) {
		if file := filepath.Join(folder, "serve"); exists(file) {
			serve = file
		}
	}
	guest := filepath.Join(os.Getenv("E2E_GUESTS"), "sleep.wasm")
	if serve == "" || !exists(guest) {
		return nil, errors.New("E2E_BIN has no program serve, or E2E_GUESTS no sleep.wasm; run `make bench-pods`")
	}
	return []image.Image{
		{Name: wasmImage, Files: map[string]string{"/sleep.wasm": guest}, Config: v1.ImageConfig{Entrypoint: []string{"/sleep.wasm"}, Cmd: []string{"3600000"}}},
		{Name: linuxImage, Files: map[string]string{"/serve": serve}, Config: v1.ImageConfig{Entrypoint: []string{"/serve"}, Cmd: []string{"8080", "9090"}}},
	}, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// figures are those of one round of pods.
type figures struct {
	running, gone time.Duration
	shim          float64 // PSS for each pod, in MB: of shims alone
	all           float64 // and of all its processes
}

func (f figures) String() string {
	return fmt.Sprintf("running after %.1f s, gone after %.1f s, %.1f MB a pod, %.1f of them the shim's", f.running.Seconds(), f.gone.Seconds(), f.all, f.shim)
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench}
spec:
  replicas: %d
  progressDeadlineSeconds: 1800
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec:
      runtimeClassName: %s
      terminationGracePeriodSeconds: 5
      automountServiceAccountToken: false
      containers: [{name: main, image: %q, imagePullPolicy: Never}]
`

func measure(ctx context.Context, cluster *kubernetes.Cluster, k kind, n int) (f figures, err error) {
	kubectl := func(stdin string, args ...string) (string, error) {
		cmd := cluster.Kubectl(ctx, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return string(out), err
	}
	began := time.Now()
	if _, err := kubectl(fmt.Sprintf(deployment, n, k.class, k.image), "apply", "-f", "-"); err != nil {
		return f, err
	}
	if _, err := kubectl("", "wait", "deployment/bench", fmt.Sprintf("--for=jsonpath={.status.readyReplicas}=%d", n), "--timeout=15m"); err != nil {
		return f, err
	}
	f.running = time.Since(began)
	time.Sleep(3 * time.Second) // what was there for the start alone is given back
	if f.shim, f.all, err = memory(n); err != nil {
		return f, err
	}
	began = time.Now()
	if _, err := kubectl("", "delete", "deployment/bench", "--cascade=foreground", "--timeout=15m"); err != nil {
		return f, err
	}
	if _, err := kubectl("", "wait", "--for=delete", "pod", "-l", "app=bench", "--timeout=15m"); err != nil {
		return f, err
	}
	f.gone = time.Since(began)
	return f, nil
}

// memory is the proportional set size of what the pods consist of, for each pod, in MB.
func memory(n int) (shim, all float64, err error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, 0, err
	}
	for _, link := range links {
		exe, err := os.Readlink(link)
		if err != nil {
			continue // a kernel thread, or one that has ended
		}
		name := filepath.Base(exe)
		isShim := strings.HasPrefix(name, "containerd-shim-")
		if !isShim && !slices.Contains([]string{"wasm-sandbox", "pause", "serve"}, name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(link), "smaps_rollup"))
		if err != nil {
			return 0, 0, err
		}
		var kilobytes float64
		_, rest, _ := strings.Cut(string(data), "\nPss:")
		if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
			return 0, 0, fmt.Errorf("%s: no Pss: %w", link, err)
		}
		all += kilobytes / 1024 / float64(n)
		if isShim {
			shim += kilobytes / 1024 / float64(n)
		}
	}
	return shim, all, nil
}

// report is a table of medians, and of ratios to the last kind's.
func report(n, rounds int, measured map[string][]figures) string {
	median := func(class string, of func(figures) float64) float64 {
		var values []float64
		for _, f := range measured[class] {
			values = append(values, of(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	columns := []func(figures) float64{
		func(f figures) float64 { return f.running.Seconds() },
		func(f figures) float64 { return f.gone.Seconds() },
		func(f figures) float64 { return f.all },
		func(f figures) float64 { return f.shim },
	}
	text := fmt.Sprintf("| %d pods | until all run | until all are gone | memory of a pod | of that the shim's |\n|---|--:|--:|--:|--:|\n", n)
	base := kinds[len(kinds)-1].class
	for _, k := range kinds {
		text += "| " + k.title
		for i, of := range columns {
			unit := []string{"s", "s", "MB", "MB"}[i]
			value := median(k.class, of)
			text += fmt.Sprintf(" | %.1f %s", value, unit)
			if k.class != base {
				text += fmt.Sprintf(" (%.2f)", value/median(base, of))
			}
		}
		text += " |\n"
	}
	cpu, _ := exec.Command("nproc").Output()
	return text + fmt.Sprintf("\nMedians of %d rounds on a node with %s processors that has etcd and the API server, too; in brackets the ratio to runc's. Memory is the proportional set size (PSS) of all the pod's processes.\n", rounds, strings.TrimSpace(string(cpu)))
}
