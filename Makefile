# Breakwater: `make run` starts it, `make test` tests it. Both set up what they need.
#
#   make run ARGS="--data-dir DIR --port 8890"    a second one beside the first
#   make test PYTEST_ARGS="tests/relay -x"        a part of the tests
#   make bench ONLY=pdq_1080p,match_1m            some of the benchmarks
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu    the small CPU build of torch

# A checkout that others own can be run as well; then the environment lies in one's own cache.
VENV := $(shell if [ -w . ] || [ -x .venv/bin/breakwater ]; then echo .venv; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/breakwater/venv"; fi)
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.breakwater-run
DEV_STAMP := $(VENV)/.breakwater-dev
SETUP := TORCH_INDEX="$(TORCH_INDEX)" PYTHON="$(PYTHON)" sh deploy/scripts/setup.sh $(VENV)

ARGS ?=
PYTEST_ARGS ?=
ONLY ?=
BENCH_ARGS ?=

.PHONY: help run test bench lint clean setup setup-dev
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

run: $(RUN_STAMP)
	@exec $(BIN)/breakwater serve --selftest $(ARGS)

test: $(DEV_STAMP)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(DEV_STAMP)
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY)) $(BENCH_ARGS)

lint: $(DEV_STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(RUN_STAMP)
	@:
setup-dev: $(DEV_STAMP)
	@:

$(RUN_STAMP): deploy/requirements.lock deploy/scripts/setup.sh
	@$(SETUP) run
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) deploy/requirements-dev.lock deploy/requirements-peers.lock
	@$(SETUP) dev
	@touch $@
