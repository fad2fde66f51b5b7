# footbridge: what can be made. Works as root and as an ordinary user.
#
#   make help    this list
#   make deps    the programs that tests and the demo use (root installs them, others are told their names)
#   make build   the programs, in bin/
#   make install the programs, manual pages, completions and units. PREFIX=/usr/local DESTDIR= (docs/installation.md);
#                make uninstall takes them away again. As root after make: then nothing is built as root
#   make dist    .deb, .rpm and archives for amd64 and arm64, with checksums: bin/dist/. ARCHS="amd64 arm64" DIST=folder
#   make demo    containers on a user-space bridge, live
#   make test    unit tests and the scripts of tests/
#   make lifecycle  random operations against a model; SEED=N OPS=N REAL=N (on the engine, on the binary) REPLAY=FILE
#   make bench   everything that is measured, beside the kernel's bridge and whatever else is installed; half an hour.
#                RUN=regexp BENCHTIME=3s BENCHROUNDS=3; PASTA=, SLIRP4NETNS=, ROOTLESSKIT= paths of other versions.
#                Results: bin/bench.json, .md, .svg; make bench-docs puts them into docs/
#   make bench-quick  its short form, two minutes
#   make bench-go  the Go benchmarks: bin/bench-go.txt, compared with OLD=FILE of an earlier run. RUN=regexp
#   make chaos    faults under load: what was lost, how long until all worked again. ROUNDS=n; SHORT=1: a minute, with three times as long for everything
#   make hostile  attacks from inside: what was let in, what neighbours felt. SEED=n; RUN=regexp; SHORT=1: a minute or two
#   make conformance  the same commands to Docker and to footbridge. Root, for Docker; DOCKERD=path of another; RUN=regexp
#   make interop  podman, Docker's command, runc and others as they are, with footbridge below them. Root installs them. RUN=regexp; SHORT=1
#   make scale    1,000 containers, 20,000 flows, a long way, those who do not read: figures and their bounds. RUN=regexp; SHORT=1
#   make soak     traffic and churn for DURATION, memory and descriptors watched. SHORT=1: half a minute
#   make lint    gofmt and go vet; make golangci the linters of .golangci.yml, which Go gets
#   make fuzz    every fuzz target for FUZZTIME
#   make clean

SHELL   := /bin/bash
GO      := $(shell command -v go || echo /usr/local/go/bin/go)
MODULE  := github.com/footbridge-net/footbridge
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# The time of the commit stands for that of the build: the same commit gives the same bytes.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
DATE    := $(if $(filter-out 0,$(SOURCE_DATE_EPOCH)),$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ))
BUILDINFO := $(MODULE)/internal/buildinfo
LDFLAGS := -s -w -X $(BUILDINFO).version=$(VERSION) -X $(BUILDINFO).commit=$(COMMIT) -X $(BUILDINFO).date=$(DATE)
DIST    ?= bin/dist
GOLANGCI ?= v2.15.0
FUZZTIME ?= 10s
BENCHTIME ?= 3s
BENCHROUNDS ?= 3
BENCHCOUNT ?= 6
OPS ?= 20000
REAL ?= 400
ROUNDS ?= $(if $(SHORT),1,40)
DURATION ?= $(if $(SHORT),30s,10m)
SOAKCSV ?= bin/soak.csv

# go test looks for the go command when it builds the program under test.
export PATH := $(dir $(GO)):$(PATH)

.PHONY: all help deps tun build extras install uninstall dist demo test lifecycle bench bench-quick bench-go bench-docs chaos hostile conformance interop scale soak lint golangci fuzz clean
all: extras

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

# A command and the Debian package that it comes from.
PROGRAMS := ip:iproute2 ping:iputils-ping traceroute:traceroute curl:curl dig:dnsutils iperf3:iperf3 python3:python3 \
	slirp4netns:slirp4netns newuidmap:uidmap ps:procps busybox:busybox-static
# What make bench compares with where it is there.
OPTIONAL := pasta:passt rootlesskit:rootlesskit

deps: tun
	@missing=; for p in $(PROGRAMS); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v "$${p%%:*}" >/dev/null || missing="$$missing $${p#*:}"; done; \
	if [ -z "$$missing" ]; then echo "deps: all programs are there"; \
	elif [ "$$(id -u)" = 0 ]; then \
		echo "deps: installing$$missing"; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	else echo "deps: missing:$$missing. Install them as root: apt-get install$$missing" >&2; exit 1; fi
	@for p in $(OPTIONAL); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v "$${p%%:*}" >/dev/null && continue; \
		{ [ "$$(id -u)" = 0 ] && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${p#*:}" >/dev/null 2>&1; } || \
		echo "deps: without $${p#*:}, make bench compares with less"; done

tun:
	@if [ ! -e /dev/net/tun ] && [ "$$(id -u)" = 0 ]; then mkdir -p /dev/net && mknod /dev/net/tun c 10 200; fi; \
	if [ ! -e /dev/net/tun ]; then echo "/dev/net/tun is missing. As root: modprobe tun" >&2; exit 1; fi; \
	case "$$(stat -c %a /dev/net/tun)" in *[67]) ;; \
	*) if [ "$$(id -u)" = 0 ]; then chmod 0666 /dev/net/tun; \
	   else echo "/dev/net/tun is not open to everybody. As root: chmod 0666 /dev/net/tun" >&2; exit 1; fi;; esac

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# What comes beside the programs: manual pages and completions, made from the commands.
extras: build
	@internal/dist/extras.sh bin/footbridge bin/extras

# BIN and EXTRAS: what was built elsewhere.
install uninstall: export PREFIX := $(or $(PREFIX),/usr/local)
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export SLIRP4NETNS := $(SLIRP4NETNS)
install uninstall: export BIN := $(or $(BIN),bin)
install uninstall: export EXTRAS := $(or $(EXTRAS),bin/extras)
install:
	@if [ "$(BIN)" = bin ] && { [ "$$(id -u)" != 0 ] || [ ! -x bin/footbridge ] || [ ! -d bin/extras ]; }; then \
		$(MAKE) --no-print-directory extras; fi
	@internal/dist/place.sh install
	@echo "footbridge is installed below $(DESTDIR)$(PREFIX)"

uninstall:
	@internal/dist/place.sh uninstall

dist:
	@GO='$(GO)' VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' internal/dist/dist.sh '$(DIST)' $(ARCHS)

demo: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo ./tests/demo
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/demo

test: tun
	$(GO) test ./...

# A failure prints its seed and the shortest sequence that fails; REPLAY names a file with one.
lifecycle: tun
	$(GO) test ./tests/lifecycle -count=1 -v -timeout 30m $(if $(SEED),-seed $(SEED)) -ops $(OPS) -real $(REAL) $(if $(REPLAY),-replay $(abspath $(REPLAY)))

BENCH = FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/bench -json bin/$@.json -markdown bin/$@.md -svg bin/$@.svg $(if $(RUN),-run '$(RUN)')

bench bench-quick: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench ./tests/bench
	@rm -f bin/$@.json bin/$@.md bin/$@.svg
	@$(BENCH) $(if $(filter bench-quick,$@),-quick,-time $(BENCHTIME) -rounds $(BENCHROUNDS))

# The Go benchmarks of the hot paths: time, and memory made, for each frame, datagram, chunk and answer. How much memory
# each may make is tested by go test.
bench-go: tun
	@mkdir -p bin
	@$(GO) test -run '^$$' -bench '$(or $(RUN),.)' -benchmem -count $(BENCHCOUNT) $$($(GO) list ./... | grep -v /tests) | tee bin/bench-go.txt
	@$(if $(OLD),$(GO) tool benchstat $(OLD) bin/bench-go.txt)

# Writes what make bench has left into the documentation: the tables between their marks, and the plot.
bench-docs:
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench ./tests/bench
	@bin/bench -from bin/bench.json -markdown docs/performance.md -svg docs/performance.svg >/dev/null

chaos: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/chaos ./tests/chaos
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/chaos -rounds $(ROUNDS) $(if $(SHORT),-slack 3)

hostile: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/hostile ./tests/hostile
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/hostile $(if $(SHORT),-short) $(if $(SEED),-seed $(SEED)) $(if $(RUN),-run '$(RUN)')

conformance: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/conformance ./tests/conformance
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/conformance $(if $(RUN),-run '$(RUN)')

# FOOTBRIDGE_TEST_BINARY unset, the program and its companions are built afresh.
interop: tun
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/interop ./tests/interop
	@bin/interop $(if $(SHORT),-short) $(if $(RUN),-run '$(RUN)') $(if $(JSON),-json '$(JSON)')

scale: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/scale ./tests/scale
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/scale $(if $(SHORT),-short) $(if $(RUN),-run '$(RUN)') $(if $(JSON),-json '$(JSON)')

soak: tun build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/soak ./tests/soak
	@FOOTBRIDGE_TEST_BINARY=$(CURDIR)/bin/footbridge bin/soak -duration $(DURATION) -csv $(SOAKCSV)

lint:
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.*')); \
	if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...

# The linters of .golangci.yml. Go gets and builds them, which takes minutes once.
golangci:
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI) run

# Targets are found where they are written: func FuzzX in a _test.go file. The go command sometimes calls the end of
# the time itself a failure, "context deadline exceeded" (go.dev/issue/75804); a real one names the failing input.
fuzz:
	@set -o pipefail; log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		echo "fuzz $$(dirname $$file) $${func#func } for $(FUZZTIME)"; \
		$(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" 2>&1 | tee $$log && continue; \
		grep -q '^ *context deadline exceeded$$' $$log && ! grep -q -e 'Failing input' -e panic: $$log || exit 1; \
		echo "(that was the end of the time, no failing input: go.dev/issue/75804)"; \
	done

clean:
	rm -rf bin
