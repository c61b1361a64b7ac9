# `make` alone lists what there is. Every target sets up what it needs; nothing is installed
# outside .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The Python to build .venv with: the first of these that runs and is new enough.
PYTHON ?= python3.13 python3.12 python3.11 python3
# Passed on to the command of the target: `make serve ARGS="--port 9000"`.
ARGS ?=
# Test processes; 0 runs the tests in pytest itself. Each starts its own Valkey and PostgreSQL, and
# only if a test asks for them.
JOBS ?= 2

BIN := .venv/bin
READY := .venv/.ready
CODE := $(wildcard src bench tests website)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Build .venv with everything pinned in constraints.txt

.PHONY: demo
demo: $(READY) ## A flash sale of 500 units and 20,000 requests, reconciled; needs nothing installed
	@$(BIN)/flashstock demo $(ARGS)

.PHONY: serve
serve: $(READY) ## Run the service; with nothing configured, on its own Valkey and SQLite
	@$(BIN)/flashstock serve $(ARGS)

.PHONY: replay
replay: $(READY) ## Replay a trading day: make replay FILE=day.csv
	@test -n "$(FILE)" || { echo "usage: make replay FILE=day.csv [ARGS=…]" >&2; exit 2; }
	@$(BIN)/flashstock replay "$(FILE)" $(ARGS)

.PHONY: test
test: $(READY) ## The whole test suite; ARGS="tests/unit -k receipt" narrows it
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: browser
browser: $(READY) ## Install the Chromium that tests/browser drives, where apt-get may
	@$(BIN)/python -m tests.browser.chromium

.PHONY: check
check: $(READY) ## Format, lint, types, and the rules of tests/tidy
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/pytest -q tests/tidy

.PHONY: format
format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

.PHONY: docs
docs: $(READY) ## The documentation site, into build/site; no network needed
	@$(BIN)/python -m website

.PHONY: bench
bench: $(READY) ## Measure against a no-op endpoint and against what a user would write
	@$(BIN)/python -m bench $(ARGS)

# SEED replays one world; SEEDS is how many to run, from FIRST on.
SEEDS ?= 1000
FIRST ?= 1

.PHONY: simulate
simulate: $(READY) ## Simulated worlds full of faults: make simulate SEEDS=1000, or SEED=7 to replay one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--first $(FIRST) --seeds $(SEEDS) --jobs $(JOBS)) $(ARGS)

.PHONY: chaos
chaos: $(READY) ## Faults on real processes under load: make chaos ARGS="--faults 500 --seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: chaos-stock
chaos-stock: $(READY) ## The stock book under fire, and every unit counted: make chaos-stock ARGS="--minutes 5"
	@$(BIN)/python -m tests.chaos.stock $(ARGS)

.PHONY: chaos-groups
chaos-groups: $(READY) ## Group-buys under fire, and every seat counted: make chaos-groups ARGS="--minutes 5"
	@$(BIN)/python -m tests.chaos.groups $(ARGS)

.PHONY: pins
pins: $(READY) ## Renew constraints.txt from the newest releases pyproject.toml allows
	@$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev]'
	@{ sed -n '/^#/p;/ ; /p' constraints.txt; $(BIN)/pip freeze --exclude-editable | sort -f; } > .venv/pins
	@mv .venv/pins constraints.txt
	@touch $(READY)

.PHONY: clean
clean: ## Remove .venv and everything the tools left behind
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# An environment that works is kept and only brought up to date: `make clean` comes before another
# Python.
$(READY): pyproject.toml constraints.txt
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if $(BIN)/python -c "$$new_enough" 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  exit 0; \
	fi; \
	python=; for candidate in $(PYTHON); do \
	  if "$$candidate" -c "$$new_enough" 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "flashstock needs Python 3.11 or newer; none of these is: $(PYTHON)." >&2; \
	  echo "Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python can't build a virtual environment: its venv or ensurepip module is missing." >&2; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up .venv with $$("$$python" --version) (once; about a minute)" >&2; \
	"$$python" -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' >&2
	@touch $@
