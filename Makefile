# The commands of the house. `make check` before a commit, `make test` before a
# merge; the rest when its name says so.

GO       ?= go
TOOL     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
TARGETS  := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.PHONY: run build check format format-check vet lint arch generated-check \
	test cross e2e shots fuzz soak power bench vuln

run: ## create ./mintmark-home and start it
	$(GO) run ./cmd/mintmark init ./mintmark-home --start

build: ## a static binary in ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/mintmark ./cmd/mintmark

check: format-check vet arch generated-check lint ## everything that reads and runs nothing long

format:
	$(TOOL) gofumpt -w .

format-check:
	@unformatted="$$($(TOOL) gofumpt -l .)" || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "not formatted (make format):"; echo "$$unformatted"; exit 1; \
	fi

vet:
	$(GO) vet ./...
	cd e2e && $(GO) vet ./...

lint:
	$(TOOL) golangci-lint run ./...
	cd e2e && $(TOOL) golangci-lint run -c ../.golangci.yml ./...

arch: ## the drawing, sizes and what is handed in
	$(GO) test -count=1 .

generated-check: ## module files tidy, generated files as their generators write them
	$(GO) mod tidy -diff
	cd e2e && $(GO) mod tidy -diff
	./scripts/generated-check

test: ## the whole of it: what continuous integration runs
	./scripts/test

cross:
	@for target in $(TARGETS); do \
		echo "CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build ./..."; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build ./... || exit 1; \
	done
	GOOS=darwin $(GO) vet ./... # tests, too, are built where people work
	cd e2e && GOOS=darwin $(GO) vet ./...

e2e: ## the built binary in a real browser
	cd e2e && $(GO) test -count=1 -p 1 -timeout 30m ./...

shots: ## pictures of every page that people judge, into bin/shots
	cd e2e && JUDGED_SHOTS=$(CURDIR)/bin/shots $(GO) test -count=1 -run TestJudgedShots .

fuzz: ## every fuzz target, FUZZTIME (60s) each
	./scripts/fuzz

power: ## stores whose machine loses its power, 200 times each; needs root
	MINTMARK_POWERLOSS=1 unshare --mount --propagation private $(GO) test -count=1 -v -timeout 60m ./internal/store/powerloss

soak: ## the tests that take long on purpose
	MINTMARK_SOAK=1 $(GO) test -count=1 -v -run Soak -timeout 60m ./...
	MINTMARK_SOAK=1 $(GO) test -race -count=1 -v -run SoakOfEveryDoor -timeout 60m ./internal/conformance
	cd e2e && MINTMARK_SOAK=1 $(GO) test -count=1 -p 1 -v -run Soak -timeout 60m ./...

bench: ## doors and verdicts beside their floors (bin/bench.md), then the rooms
	$(GO) run ./bench -report bin/bench.md
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd e2e && $(GO) test -run '^$$' -bench . ./...

vuln: ## needs the vulnerability database on the network
	$(TOOL) govulncheck ./...
