module github.com/containerd-shim-wasm/containerd-shim-wasm/test/e2e

go 1.26.6

require github.com/containerd-shim-wasm/containerd-shim-wasm v0.0.0

replace github.com/containerd-shim-wasm/containerd-shim-wasm => ../..
