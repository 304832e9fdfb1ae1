# make run    installs once, then opens the console on paper (ARGS="..." is passed on)
# make test   lint, types, import contracts and the test suite
# make lint   only ruff, mypy and the import contracts
# make suite  only the tests
# make bench  the speed measurements, each beside its floor
# make soak   simulated trading among faults and crashes, all venues in turn (HOURS=... simulated, SEED=..., JOBS=...)
# make chaos  loses real terminals and kills real processes (ROUNDS=... of each way, KILLS=..., SEED=..., JOBS=...)
# make faults lists the faults the system must survive and the tests that prove it does
# make mutants breaks the engine on purpose, one bug at a time, and sees each of them found (JOBS=...)
# make lock   resolves both lock files anew from pyproject.toml
# PYTHON=...  chooses the interpreter that .venv is made from

.DEFAULT_GOAL := run
.PHONY: run test lint suite bench soak chaos faults mutants lock
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
PIP_COMPILE = $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --build-deps-for=editable \
	--no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python)
ARGS ?=
HOURS ?= 1
SEED ?= 1
ROUNDS ?= 10
KILLS ?= 30
JOBS ?= 2

run: $(BASE)
	@exec $(BIN)/ctos-tui --account 0 $(ARGS)

test: $(DEV)
	@$(MAKE) --no-print-directory -j2 lint suite

# Real terminals and markets that follow the wall clock meet moments that no rerun repeats: what fails is tried once more.
suite: $(DEV)
	$(BIN)/pytest -n 6 --durations=40 -m "not pty" || $(BIN)/pytest -m "not pty" --last-failed
	$(BIN)/pytest -n 4 --durations=20 -m pty || $(BIN)/pytest -m pty --last-failed

lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) .peers/.installed
	$(BIN)/pytest tests/benchmarks -q

soak: $(DEV)
	@$(BIN)/python -m tests.sim --hours $(HOURS) --seed $(SEED) --jobs $(JOBS)

chaos: $(DEV)
	@$(BIN)/python -m tests.chaos --rounds $(ROUNDS) --kills $(KILLS) --seed $(SEED) --jobs $(JOBS) --boundaries

faults: $(DEV)
	@$(BIN)/python -m tests.faults --check

mutants: $(DEV)
	@$(BIN)/python -m tests.mutants --jobs $(JOBS)

lock: $(DEV)
	$(PIP_COMPILE) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

.peers/.installed: tests/benchmarks/peers/requirements.txt | $(BIN)/python
	@$(BIN)/python -m venv .peers
	@.peers/bin/python -m pip --disable-pip-version-check --no-input -qq install --requirement $<
	@touch $@

$(BIN)/python:
	@for python in $(PYTHONS); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    "$$python" -c 'import ensurepip' 2>/dev/null || { lacking="$$python"; continue; }; \
	    exec "$$python" -m venv $(VENV); \
	done; \
	if [ -n "$$lacking" ]; then \
	    echo "ctos: $$lacking cannot make virtual environments; install its venv package (Debian: python3-venv)" >&2; \
	else \
	    echo "ctos: needs Python 3.11 or newer, tried: $(PYTHONS); install one, or name it: make run PYTHON=/path/to/python" >&2; \
	fi; \
	exit 1

$(BASE): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing CTOS into $(VENV), once; about half a minute ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(BASE)
	@echo "Installing the development tools into $(VENV), once ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@
