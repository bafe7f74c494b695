# weir: one line of meaning per target; `make` alone prints them.
SHELL      := /bin/bash
GO         ?= go
BIN        := bin/weir
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# What no command of weir uses of two libraries: 6 MB of the binary, and memory of each instance.
TAGS       := urfave_cli_no_docs,nomsgpack
# A profile of the router under load (make profile) makes it 3 % cheaper; only this build uses it.
BUILDFLAGS := -pgo router/router.pgo -trimpath -tags $(TAGS) -ldflags "-s -w -X main.version=$(VERSION)"
TOOLS      := bin/tools
# The race detector needs a C compiler; without one the tests run without it.
HAVE_CC    := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo yes)
RACE       := $(if $(HAVE_CC),-race,)
TEST_CGO   := $(if $(HAVE_CC),1,0)
TESTFLAGS  ?= -shuffle=on -timeout 20m
# Tests of memory and time that mean nothing under the race detector, which has memory of its own.
NO_RACE    := ^(TestFastPath_AllocatesNothing|TestRouter_KeepsTenThousandIdle|TestClock_GivesUpAfter)

.PHONY: help build demo test check fuzz bench e2e-release e2e-router e2e-walk bench-router bench-routes bench-slow profile judge-sim tools release clean
help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## build bin/weir, one static binary
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o $(BIN) .

demo: build ## start weir on loopback, push examples/hello-go, show its answer (EXIT=1: then stop)
	@./examples/demo.sh $(BIN) $(EXIT)

test: tools ## all tests; says what it skips and why
	@$(if $(HAVE_CC),,echo "no C compiler: the tests run without the race detector";) true
	$(if $(HAVE_CC),CGO_ENABLED=0 $(GO) test $(TESTFLAGS) -run '$(NO_RACE)' ./router ./internal/rollout)
	CGO_ENABLED=$(TEST_CGO) $(TOOLS)/gotestsum --format pkgname-and-test-fails --rerun-fails=0 -- $(RACE) $(TESTFLAGS) -p 2 ./...

check: tools ## formatting, vet, staticcheck, import floors
	@out=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofumpt-formatted:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	$(GO) test -run 'TestFloors' -count=1 .

fuzz: ## every fuzz target for ten seconds
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 10s $$pkg; done; done

bench: build ## figures: push to first answer, stager overhead, router CPU, memory, start-up
	$(GO) run ./internal/bench -weir $(BIN)

e2e-router: ## the router changed, replaced and killed under load: figures and bars (LONG=1: the long form)
	WEIR_LONG=$(LONG) $(GO) test -count=1 -timeout 60m -v -run '^TestRouter_Replacements' ./internal/server | grep -E 'FIGURE|^(---|FAIL|ok|PASS)|bar is'; exit $${PIPESTATUS[0]}

bench-router: build ## the router beside nginx, HAProxy, Caddy and ReverseProxy, with the gates it is held to
	$(GO) run ./internal/bench -weir $(BIN) -only proxies

bench-routes: build ## 100,000 routes with 1,000 changes/s beside requests; memory of 1,000,000
	$(GO) run ./internal/bench -weir $(BIN) -only routes

profile: build ## measure anew which functions of the router the build takes most care of
	$(GO) run ./internal/bench -weir $(BIN) -only profile

bench-slow: build ## slowhttptest in its four modes, one over TLS too, beside healthy requests
	$(GO) run ./internal/bench -weir $(BIN) -only slow

e2e-release: ## releases with real processes and real requests: figures and bars (LONG=1: the long form)
	WEIR_LONG=$(LONG) $(GO) test -count=1 -timeout 180m -parallel 8 -v -run '^(TestRelease|TestKilled)' ./internal/acceptance ./internal/release | grep -E 'FIGURE|^(---|FAIL|ok|PASS)'; exit $${PIPESTATUS[0]}

e2e-walk: ## commands at random under load, each answer held against them (SEED=n MINUTES=m CHAOS=1 RACES=1)
	WEIR_WALK_MINUTES=$(or $(MINUTES),1) WEIR_WALK_SEED=$(SEED) WEIR_WALK_CHAOS=$(CHAOS) WEIR_RACE=$(RACES) $(GO) test -count=1 -timeout 180m -v -run '^TestWalk$$' ./internal/acceptance | grep -v '^=== '; exit $${PIPESTATUS[0]}

judge-sim: ## simulate rollouts: false alarms and time to detection of the judge, beside other tests
	$(GO) run ./internal/judge/sim

tools: ## build the pinned development tools into bin/tools
	@mkdir -p $(TOOLS) && CGO_ENABLED=0 $(GO) build -C internal/tools -o ../../$(TOOLS)/ tool

release: ## static binaries for linux/amd64 and linux/arm64 in dist/
	@mkdir -p dist
	@for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build $(BUILDFLAGS) -o dist/weir-linux-$$arch . ; done
	@cd dist && sha256sum weir-linux-* > SHA256SUMS && cat SHA256SUMS

clean: ## remove what make built
	rm -rf bin dist
