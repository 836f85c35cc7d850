# Two commands for a new machine: `make demo` and `make test`. Each makes .venv and installs what it needs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
# Test files run side by side. They wait a lot, for brokers and deadlines: one process more than cores; each has servers of its own, so four are enough.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n < 3 ? n + 1 : 4)))
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help demo test check lint types imports format simulate mutations bench soak chaos fuzz fuzz-guided clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

.venv/.python:
	@test -n "$(PYTHON)" || { echo "penstock needs Python 3.11 or newer; none was found on the PATH" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it first (Debian: apt-get install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: pyproject.toml | .venv/.python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/.dev: pyproject.toml | .venv/.python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/.run

demo: .venv/.run  ## a shop's change events through sandboxed transformers, on an embedded broker
	$(BIN)/penstock demo

test: .venv/.dev  ## all tests; those that need real Kafka run when Java and Maven are there
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: lint types imports test  ## everything CI checks, but for the guests' rebuild

lint: .venv/.dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev  ## mypy, strict
	$(BIN)/mypy

imports: .venv/.dev  ## the import contracts between the packages
	$(BIN)/lint-imports

format: .venv/.dev  ## let ruff format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

simulate: .venv/.dev  ## worlds in which everything fails: SEEDS=1000, FIRST=0, ATOMIC=1, or ONLY=17,40 to see those again
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) $(if $(ONLY),--only $(ONLY)) $(if $(ATOMIC),--atomic)

mutations: .venv/.dev  ## plant bugs in the product, and see the simulation find each of them
	$(BIN)/python -m tests.simulation.mutations $(or $(SEEDS),1000)

bench: .venv/.dev  ## all benchmarks, half an hour or so (needs Java and Maven); BENCH=--quick for a short run
	$(BIN)/python -m bench $(BENCH)

soak: .venv/.dev  ## thirty million events through real Kafka, with reloads; nothing lost, nothing that grows (needs Java and Maven)
	$(BIN)/python -m tests.soak $(SOAK)

chaos: .venv/.dev  ## real Kafka, and everything that can go wrong, in full (CHAOS="--seed 7 --only network")
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: .venv/.dev  ## bad input at every door, 20 times as much of it as in the tests (EFFORT=20); SEED=n plays one again
	@seed=$(or $(SEED),$$RANDOM); echo "seed $$seed (again: make fuzz SEED=$$seed EFFORT=$(or $(EFFORT),20))"; \
	PENSTOCK_FUZZ=$(or $(EFFORT),20) PENSTOCK_FUZZ_SEED=$$seed $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$$seed $(FUZZ)

fuzz-guided: .venv/.dev  ## coverage-guided: the memory bridge under atheris, where it installs: RUNS=1000000, SEED=n
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	@seed=$(or $(SEED),$$RANDOM); echo "seed $$seed"; $(BIN)/python -m tests.fuzz.guided -runs=$(or $(RUNS),1000000) -seed=$$seed

clean:  ## remove the environment and everything downloaded
	rm -rf .venv .services .toolchains

-include transformers/guests.mk
