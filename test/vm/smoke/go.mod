module github.com/containerd-shim-wasm/containerd-shim-wasm/test/vm/smoke

go 1.26.6
