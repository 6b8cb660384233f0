# Tidemark. `make help` lists the targets.
GO       ?= go
BIN      := bin/tidemark
PKGS     := ./...
FUZZTIME ?= 10s
ROUNDS   ?= 50
export CGO_ENABLED ?= 0
RUN_FLAGS ?=

.PHONY: help build run test vet staticcheck unit race conform bench fuzz crash clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/tidemark (one static binary)
	$(GO) build -trimpath -o $(BIN) ./cmd/tidemark

run: build ## build and start the broker on its embedded default (data in ./tidemark-data)
	$(BIN) serve $(RUN_FLAGS)

test: vet staticcheck unit race ## everything that needs Go alone: format, vet, staticcheck, architecture and unit tests, the race detector where a C compiler is there

vet:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PKGS)

staticcheck:
	$(GO) tool staticcheck $(PKGS)

unit:
	$(GO) test $(PKGS)

race:
	@if command -v $${CC:-cc} >/dev/null 2>&1; then \
		echo "CGO_ENABLED=1 $(GO) test -race -short (all but the suites that drive the built binary)"; \
		CGO_ENABLED=1 $(GO) test -race -short $$($(GO) list $(PKGS) | grep -v -e /test/crash -e /test/conform -e /test/e2e); \
	else echo "race detector skipped: it needs a C compiler (cc) and none was found"; fi

conform: build ## real clients against a real process: kcat, franz-go, sarama, kafka-go, Kafka's own tools (installs what it needs by package name)
	test/conform/run

bench: build ## micro benchmarks beside the code, then the broker itself with `tidemark bench`
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)
	test/bench/run

fuzz: ## every fuzz target for FUZZTIME each (default 10s)
	test/fuzz.sh $(FUZZTIME)

crash: build ## crash scripts on the crash file system, then kill -9 under load, ROUNDS times (default 50)
	$(GO) test -count=1 ./test/crash/leases
	TIDEMARK_TEST_BINARY=$(CURDIR)/$(BIN) $(GO) test -v -count=1 -timeout 0 ./test/crash -args -rounds $(ROUNDS)

clean: ## remove what was built
	rm -rf bin
