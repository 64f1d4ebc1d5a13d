# `make up` starts Foldbook, `make test` tests it. Needs Python 3.11 or newer, make, and the package index pip uses.

# The first that runs and is new enough; another: make PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin

# What is installed is stamped with a digest of what asked for it: nothing is done twice, and a change is noticed.
DIGEST := $(shell cat pyproject.toml constraints.txt | cksum | tr ' ' '-')
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-$(DIGEST)
DEVELOPMENT := $(VENV)/.development-$(DIGEST)
BENCHMARK := $(VENV)/.benchmark-$(DIGEST)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: up test lint bench soak clean

up: $(RUNTIME)
	@exec $(BIN)/foldbook up

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BENCHMARK)
	$(BIN)/python -m bench $(ARGS)

soak: $(DEVELOPMENT)
	$(BIN)/python -m tests.soak $(ARGS)

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(MADE):
	@test -n "$(PYTHON)" || { echo "Foldbook needs Python 3.11 or newer; name one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): | $(MADE)
	$(INSTALL) --editable .
	@touch $@

$(DEVELOPMENT): | $(MADE)
	$(INSTALL) --editable '.[test,dev,bench]'
	@touch $@ $(RUNTIME)

$(BENCHMARK): | $(MADE)
	$(INSTALL) --editable '.[test,bench]'
	@touch $@ $(RUNTIME)
