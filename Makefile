# Everything one does with a clone. `make help` lists the targets.
#
# Owns the environment (.venv) and the order of things; CI calls only these targets. Each target brings what it
# needs: on a machine with Python 3.11 or newer (with venv), a Rust toolchain and a C compiler, `make demo` or
# `make test` is the first and only command. Nothing outside the clone is written but the caches of pip and cargo;
# `make instructions` alone has apt install valgrind where it is missing and that is allowed.

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
RUST_SOURCES := $(shell find rust -name '*.rs') build.rs Cargo.toml Cargo.lock

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# PyO3 builds for the environment's interpreter, also under clippy; maturin refuses to choose between two.
export PYO3_PYTHON := $(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

.PHONY: help tools env build demo test test-rust test-python test-wheel lint fmt types captures bench bench-many instructions fuzz clean torture test-threads mutants docs

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 make test    chooses the interpreter (make clean first, if there is a .venv)"

tools: # Say what is missing before anything fails in a stranger way.
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: no '$(PYTHON)' on PATH (PYTHON=... chooses another)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version) (PYTHON=... chooses another)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "a Rust toolchain is needed: see https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is needed (Debian, Ubuntu: apt install gcc libc6-dev)"; exit 1; }

# The stamp of the environment: remade when the pinned tools change.
$(VENV)/.tools: pyproject.toml | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip==26.3'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	touch $@

env: $(VENV)/.tools ## Make the environment: .venv with the pinned tools

# The package as `pip install -e` would have it, optimised: Python files are used where they stand.
$(VENV)/.built: $(VENV)/.tools $(RUST_SOURCES)
	PIP_QUIET=1 $(BIN)/maturin develop --release --locked --quiet
	touch $@

build: $(VENV)/.built ## Build the engine (release) into the environment

demo: build ## The main job: record real market data, crash, recover, replay
	$(BIN)/aresbus demo
	@echo; echo "  (. $(VENV)/bin/activate puts aresbus on the PATH of this shell)"

test: lint types test-rust test-threads test-wheel test-python ## Lint, types, all tests of Rust and Python

test-rust: tools ## The engine's tests, without Python
	$(CARGO) test --locked --quiet --features simulation

test-threads: tools ## The engine under loom and shuttle: every order of steps, every waiter wakes
	$(CARGO) test --locked --quiet --features loom --test loom -- --nocapture --test-threads 2
	$(CARGO) test --locked --quiet --features shuttle --test shuttle -- --nocapture --test-threads 2

mutants: build ## Plant each bug of rust/planted.rs; the general suites have to notice every one
	$(BIN)/python tests/mutants.py
	$(CARGO) build --locked --quiet --lib --profile planted --features python,planted,pyo3/extension-module
	ARESBUS_PLANTED_CORE=$(CURDIR)/target/planted/lib_core.so $(BIN)/python -m pytest tests/python/test_gil_stress.py tests/python/test_hot_thread.py

test-python: build ## The tests of everything that Python sees
	$(BIN)/python -m pytest

# Lives on a simulated machine, kills of real processes. The first seed of a campaign is the time, so that each is new.
LIVES := TORTURE_SEED=$(SEED) TORTURE_MINUTES=$(or $(MINUTES),5) TORTURE_FIRST_SEED=$(or $(FIRST_SEED),$(shell date +%s)000000) \
	$(CARGO) test --locked --quiet --features simulation --test torture nothing_promised -- --nocapture
REAL_KILLS := KILLS=$(or $(KILLS),20000) $(BIN)/python -m pytest -s tests/python/test_kernel_kills.py

torture: build ## 5 minutes of random lives and 20,000 real kills; or MINUTES=n lives, SEED=n one life told again, KILLS=n kills
	$(if $(KILLS),,$(LIVES))
	$(if $(SEED)$(MINUTES),$(if $(KILLS),$(REAL_KILLS)),$(REAL_KILLS))

# The wheel must bring all it needs: installed alone, in an empty folder, it runs the main job.
test-wheel: build ## Build the wheel, install it elsewhere, run the demo and an example from it
	rm -rf target/wheel-test
	$(BIN)/maturin build --release --locked --quiet --interpreter $(BIN)/python --out target/wheel-test/dist
	$(BIN)/python -m venv target/wheel-test/env
	target/wheel-test/env/bin/python -m pip install --quiet --disable-pip-version-check target/wheel-test/dist/*.whl
	mkdir target/wheel-test/empty
	cd target/wheel-test/empty && ../env/bin/aresbus demo && ../env/bin/aresbus example trading_system

lint: env ## clippy (pedantic), rustfmt, ruff; nothing is changed
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --quiet --all-targets --features simulation,planted -- -D warnings
	$(CARGO) clippy --locked --quiet --features python -- -D warnings
	$(CARGO) clippy --locked --quiet --features loom,planted --lib --test loom -- -D warnings
	$(CARGO) clippy --locked --quiet --features shuttle --lib --test shuttle -- -D warnings
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .

fmt: env ## Format Rust and Python, apply the safe fixes
	$(CARGO) fmt
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml
	$(BIN)/ruff check --quiet --fix . || true
	$(BIN)/ruff format --quiet .

types: build ## mypy strict, pyright on the public API, stubs against the compiled module
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing
	PATH="$(BIN):$$PATH" basedpyright
	PATH="$(BIN):$$PATH" basedpyright --verifytypes aresbus --ignoreexternal
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml aresbus._core

# The site's tools are not for developing: they come when somebody builds the site.
$(VENV)/.docs: $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	touch $@

docs: $(VENV)/.docs ## Build the documentation site into target/site; a broken link fails
	$(BIN)/python docs/error_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@! grep -rlE '<(script|link|img)[^>]*(src|href)="https?:' target/site --include='*.html' || { echo "these pages load something from elsewhere"; exit 1; }
	@echo "target/site/index.html; with its search: $(PYTHON) -m http.server --directory target/site"

captures: build ## Whole recorded market days through the system: make captures DIR=folder-with-gz-files
	@test -n "$(DIR)" || { echo "say where the captures are: make captures DIR=..."; exit 1; }
	$(BIN)/python -m pytest tests/python/test_captures.py tests/python/test_replay_day.py --captures "$(abspath $(DIR))"

fuzz: tools ## Fuzz every decoder, FUZZ_SECONDS=60 each, two at a time (needs a C++ compiler)
	fuzz/run

bench: build ## Measure every figure of the hot path; writes benches/results.md and the README's table
	$(BIN)/python benches/bench_figures.py --write
	$(BIN)/python -m pytest benches --benchmark-enable --benchmark-only --benchmark-columns=median,iqr,ops
	$(CARGO) bench --locked --bench log

# Logs of sizes side by side, in a folder where they stay, or under target/ and removed again.
bench-many: build ## Measure logs of 1 and 10 million events, or EVENTS="1000000 100000000"; FOLDER=... keeps the logs there
	$(BIN)/python benches/bench_many.py --events $(or $(EVENTS),1000000 10000000) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(FOLDER),--folder $(FOLDER) --keep)

instructions: build ## Hold the instructions of append, publish, read within 5 % of benches/instructions.json; UPDATE=1 renews it
	$(BIN)/python benches/instructions.py --bring $(if $(UPDATE),--update)

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) target .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find python tests benches -name '__pycache__' -prune -exec rm -rf {} +
	rm -f python/aresbus/_core*.so
