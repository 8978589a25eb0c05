package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const usage = `wasm-node-installer gives the containerd of a Kubernetes node the runtime "wasm".

  wasm-node-installer install   [flags]   put the programs and the runtime's settings on the node,
                                          have containerd read them, label the node
  wasm-node-installer uninstall [flags]   undo all that
  wasm-node-installer stay      [flags]   wait for SIGTERM, as a pod does between these

Whatever is there already is left as it is: install and uninstall can be repeated.
wasm-node-installer COMMAND -h lists the flags.
`

// settings are the flags.
type settings struct {
	host, programs, distribution string
	timeout                      time.Duration
	uninstall                    bool
}

// Main runs the program and returns its exit code: 1 for what failed, 2 for a
// command line that says nothing sensible.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, out, messages io.Writer) int {
	if len(args) == 0 || strings.TrimLeft(args[0], "-") == "help" || args[0] == "-h" {
		fmt.Fprint(messages, usage)
		return 2
	}
	name := args[0]
	if name != "install" && name != "uninstall" && name != "stay" {
		fmt.Fprintf(messages, "wasm-node-installer: there is no command %q; there are install, uninstall and stay\n", name)
		return 2
	}
	s, err := parseFlags(name, args[1:], messages)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil { // which has been told
		return 2
	}
	if err := s.do(ctx, name, out); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(messages, "wasm-node-installer %s: %s\n", name, strings.TrimSuffix(line, "\n"))
		}
		return 1
	}
	return 0
}

func parseFlags(name string, args []string, messages io.Writer) (s settings, err error) {
	program, err := os.Executable()
	if err != nil {
		return s, err
	}
	flags := flag.NewFlagSet("wasm-node-installer "+name, flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&s.host, "host", "/host", "`folder` where the node's root file system is mounted")
	flags.StringVar(&s.distribution, "distribution", "", "the node's containerd is that of `NAME`: k3s, rke2, k0s, microk8s, or containerd for others; by default the one that answers")
	flags.DurationVar(&s.timeout, "timeout", 5*time.Minute, "how long containerd may take to have read its configuration")
	if name == "install" {
		flags.StringVar(&s.programs, "programs", filepath.Dir(program), "`folder` with "+strings.Join(programs, " and "))
	}
	if name == "stay" {
		flags.BoolVar(&s.uninstall, "uninstall", false, "uninstall at the end")
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(messages, "wasm-node-installer %s: %q is no flag\n", name, flags.Arg(0))
		return s, errors.New("usage")
	}
	return s, nil
}

func (s settings) do(ctx context.Context, command string, out io.Writer) error {
	if command == "stay" {
		<-ctx.Done()
		if !s.uninstall {
			return nil
		}
		// The signal has ended the waiting, and nothing else.
		ctx = context.WithoutCancel(ctx)
	}
	i, err := s.installer(out)
	if err != nil {
		return err
	}
	defer i.engine.conn.Close()
	if command == "install" {
		return i.install(ctx)
	}
	return i.uninstall(ctx)
}

// installer finds out where it is.
func (s settings) installer(out io.Writer) (*installer, error) {
	root, err := filepath.Abs(s.host)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("-host: %s is not a folder; mount the node's root file system there", root)
	}
	i := &installer{host: host(root), programs: s.programs, timeout: s.timeout, out: out}
	if i.cluster, err = inCluster(); err != nil {
		return nil, err
	}
	if i.record, err = readRecord(i.host); err != nil {
		return nil, err
	}
	if i.distro, err = detect(i.host, s.distribution); err != nil {
		return nil, err
	}
	i.engine, err = connect(i.host, i.distro)
	return i, err
}
