# Every goal with a comment behind ## is shown by `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PREFIX ?= /usr/local
DESTDIR ?=

# Build tags of the shim: shim_tracing adds OpenTelemetry.
TAGS ?=

module   := github.com/containerd-shim-wasm/containerd-shim-wasm
programs := bin/containerd-shim-wasm-v1 bin/wasm-sandbox
tools    := bin/wasm-image bin/wasm-node-installer
engines  := .engines/bin
docker   := .engines/docker
dockers  := $(addprefix $(docker)/,dockerd docker-proxy docker docker-init)
# Folders of other containerds than the one in $(engines).
ONLY     ?=
releases := $(addprefix .engines/containerd-,$(or $(ONLY),1.6 1.7 2.2 2.3))
e2e      := .engines/tests/e2e.test .engines/bin/native .engines/guests/fill.wasm
oras     := .engines/tools/oras
# Kubernetes' programs, etcd, the CNI plugins, and what is in pods of the tests.
kubernetes := .engines/kubernetes

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
stamp    := -X $(module)/shim/bootstrap.version=$(VERSION) -X $(module)/shim/bootstrap.revision=$(REVISION)

go_sources = $(shell find $(1) -name '*.go' -o -name '*.s' -o -name go.mod -o -name go.sum)
sources   := go.mod go.sum $(call go_sources,cmd shim oci sandbox cgroups)

# Packages whose tests differ on cgroup v2, and the slow end-to-end tests that do not.
vm_packages := ./cgroups ./sandbox/jail
# Those of the end-to-end tests that depend on the version of cgroups; a machine
# without hardware virtualisation takes too long for all of them.
vm_tests    := ^Test(Hello|ExitCodes|Signals|Events|Many|MemoryLimit|NoMemory|OutOfMemory|CPUQuota|PidsLimit|Freeze|KillFrozen|Update|BindMount|Pod|ShimKilled|ExecIsWithinTheLimits|ClientMetrics|ClientShimCgroup)$$

static := CGO_ENABLED=0 go build -trimpath -ldflags

# Version and revision are stamped above, and Go's own stamping fails where git
# does not trust the checkout's owner.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

# The race detector needs cgo and a C compiler; `make test-unit RACE=` goes without.
RACE ?= -race

##@ Use

.PHONY: help build install demo
help: ## this text
	@awk -F ':.*## ' ' \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(programs) $(tools) ## bin/containerd-shim-wasm-v1 and bin/wasm-sandbox; bin/wasm-image, which makes images; bin/wasm-node-installer, for Kubernetes

install: $(programs) ## both programs to $(DESTDIR)$(PREFIX)/bin
	@install -d $(DESTDIR)$(PREFIX)/bin
	@install -m 0755 $(programs) $(DESTDIR)$(PREFIX)/bin/
	@echo "  installed $(notdir $(programs)) to $(DESTDIR)$(PREFIX)/bin"

demo: build $(engines)/containerd $(engines)/ctr .engines/demo .engines/hello.wasm ## run a Wasm container under a private containerd (needs root and Go alone)
	@.engines/demo -path bin:$(engines) .engines/hello.wasm

# Where the image goes, as wasm-image has it; and which CPUs it is for.
TO         ?= tar:bin/wasm-node-installer.tar@wasm-node-installer:latest
NODE_ARCHS ?= amd64 arm64
.PHONY: node-image
node-image: $(foreach a,$(NODE_ARCHS),$(addprefix bin/linux-$(a)/,wasm-node-installer containerd-shim-wasm-v1 wasm-sandbox)) ## the node installer's image for Kubernetes, to bin/wasm-node-installer.tar or TO=registry.example.org/wasm-node-installer:1
	@go run ./deploy/image $(TO) $(foreach a,$(NODE_ARCHS),$(a)=bin/linux-$(a))

##@ Test

.PHONY: engines guests test test-unit test-e2e test-k8s test-arrivals test-docker test-deploy test-matrix test-vm test-escape test-rootless fuzz bench bench-pods lint
engines: $(addprefix $(engines)/,containerd ctr containerd-shim-runc-v2 runc) ## the engines that the tests drive, to .engines/bin

guests: compilers ## the modules that the tests run, to .engines/guests
	@go run ./test/guests/build

test: ## all of the following, of the matrix what takes few minutes to build
	@for goal in lint test-unit 'fuzz FUZZTIME=20000x' test-e2e test-escape test-rootless test-arrivals test-docker test-deploy test-k8s 'test-matrix ONLY="1.6 1.7"' test-vm; do \
		echo "== $$goal"; eval "$(MAKE) $$goal"; \
	done; \
	echo "== all passed, $$SECONDS s"

lint: ## gofmt and go vet, amd64 and arm64
	@unformatted=$$(gofmt -l cmd deploy image shim oci sandbox cgroups test); \
	if [[ $$unformatted ]]; then echo "run gofmt -w on:" $$unformatted >&2; exit 1; fi
	@for arch in amd64 arm64; do for dir in . test/e2e; do \
		test/step "go vet $$dir for $$arch" env GOARCH=$$arch CGO_ENABLED=0 go vet -C $$dir ./...; \
	done; done

# The race detector would be in wazero's compiler, too, which compiles every guest
# there and takes minutes with it; the package has no second thread of its own.
test-unit: guests ## the packages' own tests, with the race detector (needs root)
	@test/step "unit tests" go test $(RACE) -timeout 15m $$(go list ./... | grep -v '/sandbox/engine$$')
	@test/step "unit tests of the engine" go test -timeout 15m ./sandbox/engine

FUZZTIME ?= 30s
fuzz: ## every fuzz test for FUZZTIME=30s, or so many inputs as in FUZZTIME=20000x
	@test/fuzz $(FUZZTIME)

test-e2e: build engines guests $(e2e) .engines/tests/images.test .engines/tests/pods.test $(oras) ## a real containerd runs real guests (needs root)
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/images.test -test.v $(E2E_ARGS) | sed -u '/^=== /d'
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/pods.test -test.v $(E2E_ARGS) | sed -u '/^=== /d'
	@E2E_BIN=bin:$(engines):$(dir $(oras)) E2E_GUESTS=.engines/guests .engines/tests/e2e.test -test.v -test.timeout 20m $(E2E_ARGS) | sed -u '/^=== /d'

test-k8s: build engines guests .engines/guests/fill.wasm $(addprefix $(kubernetes)/,kubelet pause serve) .engines/tests/kubernetes.test ## pods of Wasm and Linux containers in a cluster of one node (needs root)
	@test/deps busybox-static iproute2 nftables
	@E2E_BIN=bin:$(engines):$(kubernetes) E2E_GUESTS=.engines/guests .engines/tests/kubernetes.test -test.v -test.parallel 8 -test.timeout 9m $(E2E_ARGS) | sed -u '/^=== /d'

test-rootless: build engines guests .engines/tests/rootless.test ## the same for containerds of an ordinary user (needs root, to be one)
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/rootless.test -test.v -test.timeout 5m $(E2E_ARGS) | sed -u '/^=== /d'

test-matrix: build engines guests $(e2e) .engines/matrix $(addsuffix /containerd,$(releases)) ## the same under every containerd, for the table in the README, which UPDATE=1 writes; or ONLY="1.6 1.7"
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/matrix \
		$(if $(ONLY),,-readme README.md $(if $(UPDATE),-update)) \
		.engines/tests/e2e.test $(releases) $(if $(ONLY),,$(engines))

test-vm: build engines guests $(e2e) .engines/tests/rootless.test ## the same on cgroup v2, in a virtual machine (needs root)
	@for package in $(vm_packages); do \
		CGO_ENABLED=0 go test -c -o .engines/tests/$$(basename $$package).test $$package; \
	done
	@test/vm/run $(foreach p,$(vm_packages),.engines/tests/$(notdir $(p)).test --) .engines/tests/e2e.test -test.run '$(vm_tests)' -- \
		.engines/tests/rootless.test -test.run 'TestMemoryLimit|TestMetrics|TestPause' | sed -u '/^=== /d'
	@CGO_ENABLED=0 go test -C test/e2e -c -o $(CURDIR)/.engines/tests/systemd.test ./systemd
	@test/vm/run --systemd .engines/tests/cgroups.test -- .engines/tests/systemd.test | sed -u '/^=== /d'

test-escape: build engines .engines/escape/wasm-sandbox .engines/escape/attacker .engines/tests/escape.test ## an attacker in a sandbox and in runc, for the tables in SECURITY.md, which UPDATE=1 writes
	@E2E_BIN=.engines/escape:$(engines) .engines/tests/escape.test -test.v -security SECURITY.md $(if $(UPDATE),-update) | sed -u '/^=== /d'

test-arrivals: build engines guests .engines/containerd-1.7/containerd $(dockers) .engines/tests/arrivals.test ## images of every form, brought to two containerds and Docker in every way, for the tables in docs/images.md, which UPDATE=1 writes (needs root)
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/arrivals.test -test.v -test.timeout 10m \
		-releases .engines/containerd-1.7:$(engines) -docker $(docker) -docs docs/images.md $(if $(UPDATE),-update) | sed -u '/^=== /d'

test-deploy: build engines guests $(engines)/native .engines/containerd-1.7/containerd .engines/tests/deploy.test .engines/node-image.tar ## the node installer on the containerds of two releases, and the manifests (needs root)
	@test/deps systemd
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/deploy.test -test.v -test.timeout 5m \
		-releases .engines/containerd-1.7:$(engines) -image .engines/node-image.tar $(E2E_ARGS) | sed -u '/^=== /d'

test-docker: build engines $(dockers) .engines/docker-20.10/dockerd .engines/guests/docker.wasm .engines/guests/docker .engines/tests/docker.test ## what Docker makes of a Wasm guest and of a Linux program, for the table in docs/docker.md, which UPDATE=1 writes (needs root)
	@E2E_BIN=bin:$(engines) E2E_GUESTS=.engines/guests .engines/tests/docker.test -test.v -test.timeout 10m \
		-docker $(docker) -old .engines/docker-20.10 -docs docs/docker.md $(if $(UPDATE),-update) $(E2E_ARGS) | sed -u '/^=== /d'

bench: build guests .engines/startup .engines/webserver.wasm .engines/ruby.wasm ## sizes of the programs; how modules start, beside wazero's own cache, and where the time goes
	@stat -c '  %n: %s bytes' $(programs)
	@.engines/startup $(patsubst %,.engines/guests/%.wasm,hello-c hello-as hello-rust hello-go) .engines/webserver.wasm .engines/ruby.wasm

PODS   ?= 100
ROUNDS ?= 3
bench-pods: build engines guests $(addprefix $(kubernetes)/,kubelet pause serve) .engines/bench-pods ## many pods on one node, beside runc's, for the table in docs/kubernetes.md, which UPDATE=1 writes (needs root)
	@E2E_BIN=bin:$(engines):$(kubernetes) E2E_GUESTS=.engines/guests .engines/bench-pods -n $(PODS) -rounds $(ROUNDS) -docs docs/kubernetes.md $(if $(UPDATE),-update)

.PHONY: clean compilers toolchain
clean: ## remove what was built; .engines, which is dear to build, stays
	rm -rf bin

# The C compiler is for runc and the race detector.
compilers:
	@test/deps
	@test/deps gcc libc6-dev

# ---- what is built ----

bin/containerd-shim-wasm-v1: $(sources) .engines/stamp
	@test/step "build $(@F)" env $(static) "-s -w $(stamp)" -tags "$(TAGS)" -o $@ ./cmd/$(@F)
	@touch $@

bin/wasm-sandbox: $(sources)
	@test/step "build $(@F)" env $(static) "-s -w" -o $@ ./cmd/$(@F)
	@touch $@

# The programs for other CPUs than this one's.
bin/linux-%/wasm-sandbox bin/linux-%/containerd-shim-wasm-v1 bin/linux-%/wasm-node-installer: $(sources) .engines/stamp $(call go_sources,deploy)
	@test/step "build the programs for $*" env GOARCH=$* $(static) "-s -w $(stamp)" -tags "$(TAGS)" -o bin/linux-$*/ \
		./cmd/wasm-sandbox ./cmd/containerd-shim-wasm-v1 ./cmd/wasm-node-installer
	@touch $(@D)/*

bin/wasm-node-installer: go.mod go.sum $(call go_sources,cmd/wasm-node-installer deploy shim/options) $(wildcard deploy/containerd/*.toml)
	@test/step "build $(@F)" env $(static) "-s -w" -o $@ ./cmd/$(@F)
	@touch $@

bin/wasm-image: go.mod go.sum $(call go_sources,cmd/wasm-image image oci sandbox)
	@test/step "build $(@F)" env $(static) "-s -w" -o $@ ./cmd/$(@F)
	@touch $@

# Changes only when the version or the tags do.
.PHONY: FORCE
.engines/stamp: FORCE
	@mkdir -p $(@D)
	@[[ "$$(cat $@ 2>/dev/null)" == "$(stamp) $(TAGS)" ]] || echo "$(stamp) $(TAGS)" >$@

containerd_version = $(shell cd test/engines/containerd && go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)

$(addprefix $(engines)/,containerd ctr containerd-shim-runc-v2): $(engines)/%: test/engines/containerd/go.mod test/engines/containerd/go.sum
	@test/step "build $* (the first time takes minutes)" env -C test/engines/containerd \
		$(static) "-s -w -X github.com/containerd/containerd/v2/version.Version=$(containerd_version)" \
		-o $(CURDIR)/$@ github.com/containerd/containerd/v2/cmd/$*
	@touch $@

$(filter-out %-1.6/containerd,$(addsuffix /containerd,$(releases))): .engines/%/containerd: test/engines/%/go.mod test/engines/%/go.sum
	@test/step "build $* (takes minutes)" env -C test/engines/$* $(static) "-s -w" -o $(CURDIR)/$(@D)/ tool
	@touch $@

.engines/containerd-1.6/containerd: test/engines/containerd-1.6/fetch test/engines/debian
	@test/step "fetch containerd 1.6 of Debian" $< $(@D)
	@touch $@

# The programs know their versions by a stamp of the build alone.
docker_version = $(shell cd test/engines/docker && go list -m -f '{{.Version}}' $(1) | sed 's/^v//; s/+.*//')

$(docker)/dockerd $(docker)/docker-proxy $(docker)/docker &: test/engines/docker/go.mod test/engines/docker/go.sum
	@test/step "build Docker (takes minutes)" env -C test/engines/docker $(static) "-s -w \
		-X github.com/moby/moby/v2/dockerversion.Version=$(call docker_version,github.com/moby/moby/v2) \
		-X github.com/docker/cli/cli/version.Version=$(call docker_version,github.com/docker/cli)" \
		-o $(CURDIR)/$(docker)/ tool
	@touch $(addprefix $(docker)/,dockerd docker-proxy docker)

$(docker)/docker-init: test/engines/docker/fetch test/engines/debian
	@test/step "fetch the init of Docker from Debian" $< $(@D)
	@touch $@

.engines/docker-20.10/dockerd: test/engines/docker-20.10/fetch test/engines/debian
	@test/deps libdevmapper1.02.1 libsystemd0
	@test/step "fetch Docker 20.10 of Debian" $< $(@D)
	@touch $@

# Static, because it also runs in a virtual machine that has no libraries.
$(engines)/runc: test/engines/runc/go.mod test/engines/runc/go.sum
	@test/deps gcc libc6-dev libseccomp-dev pkg-config
	@test/step "build runc" env -C test/engines/runc CGO_ENABLED=1 go build -trimpath \
		-tags seccomp,netgo,osusergo -ldflags "-s -w -extldflags -static" \
		-o $(CURDIR)/$@ github.com/opencontainers/runc
	@touch $@

$(oras): test/engines/oras/go.mod test/engines/oras/go.sum
	@test/step "build oras" env -C test/engines/oras $(static) "-s -w" -o $(CURDIR)/$@ oras.land/oras/cmd/oras
	@touch $@

kubernetes_version = $(shell cd test/engines/kubernetes && go list -m -f '{{.Version}}' k8s.io/kubernetes)

# The kubelet stands for all that its module builds.
$(kubernetes)/kubelet: test/engines/kubernetes/go.mod test/engines/kubernetes/go.sum
	@mkdir -p $(@D)
	@test/step "build Kubernetes, etcd and the CNI plugins (takes minutes)" env -C test/engines/kubernetes $(static) "-s -w \
		-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(word 2,$(subst ., ,$(kubernetes_version))) \
		-X k8s.io/component-base/version.gitVersion=$(kubernetes_version)" -o $(CURDIR)/$(@D)/ tool
	@mv $(@D)/server $(@D)/etcd
	@touch $@

$(addprefix $(kubernetes)/,pause serve): $(kubernetes)/%: go.mod go.sum test/kubernetes/%/main.go
	@test/step "build $* for pods" env $(static) "-s -w" -o $@ ./test/kubernetes/$*
	@touch $@

.engines/demo: go.mod go.sum $(call go_sources,test/demo test/daemon test/image test/isolate)
	@test/step "build the demo" env $(static) "-s -w" -o $@ ./test/demo
	@touch $@

.engines/hello.wasm: test/guests/go/hello/main.go
	@test/step "build the guest hello.wasm" env GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -o $@ ./test/guests/go/hello
	@touch $@

.engines/startup: go.mod go.sum $(call go_sources,test/bench/startup sandbox/engine)
	@test/step "build the benchmark of starts" env $(static) "-s -w" -o $@ ./test/bench/startup
	@touch $@

.engines/bench-pods: go.mod go.sum $(call go_sources,test/bench/pods test/kubernetes test/daemon test/image test/isolate test/table)
	@test/step "build the benchmark of pods" env $(static) "-s -w" -o $@ ./test/bench/pods
	@touch $@

.engines/webserver.wasm: test/guests/go/webserver/main.go
	@test/step "build the guest webserver.wasm" env GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -o $@ ./test/guests/go/webserver
	@touch $@

.engines/ruby.wasm: $(wildcard test/bench/ruby/*)
	@test/deps
	@test/step "fetch Ruby for the benchmark" test/bench/ruby/build .engines/ruby $@
	@touch $@

.engines/matrix: go.mod go.sum $(call go_sources,test/matrix test/table)
	@test/step "build the matrix" env $(static) "-s -w" -o $@ ./test/matrix
	@touch $@

.engines/tests/e2e.test: go.mod go.sum $(call go_sources,test/e2e test/daemon test/image test/isolate test/guests/asm test/guests/hostile) $(wildcard docs/*)
	@test/step "build the end-to-end tests" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ .
	@touch $@

# The shim finds the sandbox's program beside itself.
.engines/escape/wasm-sandbox: bin/containerd-shim-wasm-v1 $(sources) $(call go_sources,test/escape)
	@mkdir -p $(@D)
	@test/step "build the sandbox with an attacker in it" go run ./test/escape/build $@
	@cp bin/containerd-shim-wasm-v1 $(@D)/
	@touch $@

.engines/escape/attacker: go.mod go.sum $(call go_sources,test/escape)
	@test/step "build the attacker for runc" env $(static) "-s -w" -o $@ ./test/escape/native
	@touch $@

.engines/tests/escape.test: $(sources) $(call go_sources,test/e2e/escape test/escape test/daemon test/image test/isolate test/table)
	@test/step "build the escape test" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./escape
	@touch $@

.engines/tests/images.test: go.mod go.sum $(call go_sources,oci test/e2e/images test/daemon test/bycri test/image test/isolate)
	@test/step "build the tests of images" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./images
	@touch $@

.engines/tests/pods.test: go.mod go.sum $(call go_sources,test/e2e/pods test/daemon test/bycri test/image test/isolate)
	@test/step "build the tests of pods" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./pods
	@touch $@

.engines/tests/arrivals.test: go.mod go.sum $(call go_sources,image/form test/guests/asm test/e2e/arrivals test/daemon test/bycri test/image test/isolate test/table)
	@test/step "build the test of arrivals" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./arrivals
	@touch $@

.engines/node-image.tar: $(programs) bin/wasm-node-installer $(call go_sources,deploy/image image)
	@test/step "build the node installer's image" go run ./deploy/image tar:$@@wasm-node-installer:latest $$(go env GOARCH)=bin
	@touch $@

.engines/tests/deploy.test: $(wildcard deploy/kubernetes/*/*) go.mod go.sum docs/kubernetes.md $(call go_sources,test/e2e/deploy deploy docs test/bycri test/image test/isolate)
	@test/step "build the tests of the node installer" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./deploy
	@touch $@

.engines/tests/kubernetes.test: go.mod go.sum docs/kubernetes.md $(call go_sources,docs test/e2e/kubernetes test/kubernetes test/daemon test/image test/isolate)
	@test/step "build the tests under Kubernetes" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./kubernetes
	@touch $@

.engines/tests/docker.test: go.mod go.sum $(call go_sources,test/e2e/docker test/daemon test/image test/isolate test/table docs) docs/docker.md
	@test/step "build the test of Docker" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./docker
	@touch $@

.engines/guests/docker.wasm: test/e2e/docker/guest/main.go
	@test/step "build the guest docker.wasm" env -C test/e2e GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./docker/guest
	@touch $@

.engines/guests/docker: test/e2e/docker/guest/main.go
	@test/step "build the same guest for Linux" env -C test/e2e $(static) "-s -w" -o $(CURDIR)/$@ ./docker/guest
	@touch $@

.engines/tests/rootless.test: go.mod go.sum docs/rootless.md $(call go_sources,test/e2e/rootless test/daemon test/image test/isolate docs)
	@test/step "build the rootless tests" env CGO_ENABLED=0 go test -C test/e2e -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./rootless
	@touch $@

$(engines)/native: test/e2e/native/main.go
	@test/step "build a native program for comparison" env -C test/e2e $(static) "-s -w" -o $(CURDIR)/$@ ./native
	@touch $@

.engines/guests/fill.wasm: test/e2e/fill/main.go
	@test/step "build the guest fill.wasm" env -C test/e2e GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ ./fill
	@touch $@
