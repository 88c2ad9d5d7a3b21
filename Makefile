# `make help` lists what there is. Everything runs from .venv, made from the locks on first use.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# A lock is complete: pip need not look for anything, and then any pip will do.
LOCKED := $(PIP) install --no-deps --require-hashes --requirement
KEEP ?=
# Another interpreter's modules, and its home, are none of ours.
unexport PYTHONHOME PYTHONPATH
# Many tests wait for servers to start: two cores carry three of them.
TEST_PROCESSES ?= 3

.PHONY: help demo up check test docs clients audit sbom chaos lint types format bench lock clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/runtime  ## the main job on real sample prices, through the REST facade (KEEP=1: stay up)
	@$(BIN)/autoindex demo --with-parent $(if $(KEEP),--keep)

up: .venv/runtime  ## the whole stack in the foreground, until Ctrl-C
	@$(BIN)/autoindex up --with-parent

check: lint types  ## lint, types and every test that needs no server: while you work
	$(BIN)/python -m pytest --numprocesses 2 -m "not server"

test: .venv/dev .venv/client-generator .venv/docs clients/typescript/node_modules  ## every test: unit, storage, flows, API, the whole stack
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

docs: .venv/runtime .venv/docs  ## the documentation's site, in site/
	@NO_MKDOCS_2_WARNING=1 .venv/docs/bin/python -m mkdocs build --quiet --strict --config-file docs_site/mkdocs.yml
	@echo "Open site/index.html. To search: $(BIN)/python -m http.server --directory site 8080"

clients: .venv/dev .venv/client-generator clients/typescript/node_modules  ## typed clients in Python and TypeScript, in clients/
	@$(BIN)/python -m clients.generate

audit: .venv/supply-chain  ## known weaknesses of what is installed, from the package index
	.venv/supply-chain/bin/python -m pip_audit --requirement requirements.lock --require-hashes --disable-pip

sbom: .venv/supply-chain  ## what is installed, as a CycloneDX list in sbom.json
	@.venv/supply-chain/bin/python -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible --validate --output-file sbom.json

chaos: .venv/dev  ## 100 tasks in a storm of 40 faults, to every part there is (OPTIONS="--seed 2")
	$(BIN)/python -m tests.end_to_end.chaos $(OPTIONS)

lint: .venv/dev  ## style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/dev  ## static types
	$(BIN)/mypy

format: .venv/dev  ## fix what lint can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/bench  ## ratios against raw floors and other libraries
	$(BIN)/python -m benchmarks

lock: .venv/dev  ## pin the newest versions that work together
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra build --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra build --extra dev --output-file requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra build --extra dev --extra bench \
		--constraint requirements-dev.lock --output-file requirements-bench.lock
	$(BIN)/uv pip compile $(LOCK) --group client-generator --output-file requirements-client-generator.lock
	$(BIN)/uv pip compile $(LOCK) --group docs --output-file requirements-docs.lock
	$(BIN)/uv pip compile $(LOCK) --group supply-chain --output-file requirements-supply-chain.lock
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean:  ## remove the virtual environment and everything the local stack has stored
	rm -rf .venv var clients/typescript/node_modules

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "The module venv is missing; on Debian: apt install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/runtime: .venv/bin/python requirements.lock pyproject.toml
	@echo "Installing what Autoindex needs into .venv (once; a minute or two)"
	@$(LOCKED) requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	@echo "Installing the tools for development into .venv (once)"
	@$(LOCKED) requirements-dev.lock
	@touch $@

# Tools that do not go together with ours have an environment of their own.
OWN_ENVIRONMENT = $(BIN)/python -m venv $@ && $@/bin/python -m pip --disable-pip-version-check --quiet \
	--no-input install --no-deps --require-hashes --requirement requirements-$(@F).lock && touch $@

# Without it the one test that makes a client in Python says that it is missing.
.venv/client-generator: .venv/bin/python requirements-client-generator.lock
	@echo "Installing the generator of API clients into an environment of its own (once)"
	@$(OWN_ENVIRONMENT) || { rm -rf $@; echo "the generator of API clients can't be installed here" >&2; }

# Without it the one test that makes a client in TypeScript says that it is missing.
clients/typescript/node_modules: clients/typescript/package-lock.json
	@echo "Installing the generator of clients in TypeScript (once)"
	@npm --prefix clients/typescript ci --no-audit --no-fund --silent && touch $@ || \
		{ rm -rf $@; echo "the generator of clients in TypeScript can't be installed here: it needs Node.js and npm" >&2; }

# Without it the one test that builds the site says that it is missing.
.venv/docs: .venv/bin/python requirements-docs.lock
	@echo "Installing what builds the documentation into an environment of its own (once)"
	@$(OWN_ENVIRONMENT) || { rm -rf $@; echo "the documentation's site can't be built here" >&2; }

.venv/supply-chain: .venv/bin/python requirements-supply-chain.lock
	@$(OWN_ENVIRONMENT) || { rm -rf $@; exit 1; }

# Benchmarks run without it too, and say what they lack.
.venv/bench: .venv/dev requirements-bench.lock
	@echo "Installing what only benchmarks compare with into .venv (once)"
	@$(LOCKED) requirements-bench.lock && touch $@ || \
		echo "vectorbt can't be installed here: there is no comparison with it" >&2
