# `make up` starts Foldbook, `make test` tests it. Needs Python 3.11 or newer, make, and the package index that pip uses.

VENV := .venv
BIN := $(VENV)/bin

# The Python of the environment, else the first that is new enough. To choose: make PYTHON=/path/to/python
PYTHON ?= $(shell for python in $(BIN)/python python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
# The interpreter behind every link to it, and its version; empty if it is missing or too old.
INTERPRETER := $(shell $(PYTHON) -c 'import os, sys; sys.version_info >= (3, 11) or sys.exit(1); \
	print(os.path.realpath(sys.executable), "%d.%d" % sys.version_info[:2])' 2>/dev/null)

# Stamps: an environment is valid for one interpreter in one place, and the packages in it for one list of packages. So
# nothing is done twice, and a change is noticed. While pip runs there is no stamp: if it fails or is interrupted, the next
# make starts with an empty environment.
WHERE := pwd -P; echo "$(INTERPRETER)"
digest = $(shell { $(1); } | cksum | tr ' ' '-')
MADE := $(VENV)/.stamp-made-$(call digest,$(WHERE))
PACKAGES := $(call digest,$(WHERE); cat pyproject.toml constraints.txt)
RUNTIME := $(VENV)/.stamp-runtime-$(PACKAGES)
BENCHMARK := $(VENV)/.stamp-benchmark-$(PACKAGES)
DEVELOPMENT := $(VENV)/.stamp-development-$(PACKAGES)

EVERYTHING := .[test,dev,bench]
FOR_BENCHMARKS := .[test,bench]

# $(call install,what,stamps): a dot for every package that pip looks at.
define install
@rm -f $(VENV)/.stamp-*
@echo "Installing Python packages into $(VENV): the first time it takes a minute or two."
@{ $(BIN)/python -u -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt \
	--editable '$(1)' && touch $(MADE) $(2); } | while read -r line; do case "$$line" in \
	Collecting*) printf .;; 'Installing collected'*) printf ' unpacking ... ';; esac; done
@test -e $(MADE) || { echo "pip failed; see above. The next make starts over."; exit 1; }
@echo "done."
endef

.PHONY: up demo test lint bench soak mutants clean

up: $(RUNTIME)
	@exec $(BIN)/foldbook up

demo: $(RUNTIME)
	@exec $(BIN)/foldbook demo $(ARGS)

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BENCHMARK)
	$(BIN)/python -m bench $(ARGS)

soak: $(DEVELOPMENT)
	$(BIN)/python -m tests.soak $(ARGS)

mutants: $(DEVELOPMENT)
	$(BIN)/python -m tests.mutants $(ARGS)

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(MADE):
	@test -n "$(INTERPRETER)" || { echo "Foldbook needs Python 3.11 or newer$(if $(PYTHON),; $(PYTHON) is not)." \
		"Name one: make PYTHON=/path/to/python"; exit 1; }
	@echo "Creating $(VENV) with $(INTERPRETER)"
	@$(firstword $(INTERPRETER)) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): | $(MADE)
	$(call install,.,$@)

$(DEVELOPMENT): | $(MADE)
	$(call install,$(EVERYTHING),$@ $(BENCHMARK) $(RUNTIME))

$(BENCHMARK): | $(MADE)
	$(call install,$(FOR_BENCHMARKS),$@ $(RUNTIME))
