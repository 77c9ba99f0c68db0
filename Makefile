# The project's commands; `make run` and `make test` are the README's.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?=
NAMES ?=
RANDOM ?=
MINUTES ?= 10
# PYTHON with a dot for a version of its own: make test VENV=.venv-3.13 PYTHON=python3.13
VERSIONS := 3.11 3.12 3.13 3.14
STAMP := $(VENV)/installed

.PHONY: run quick test test-all jobs lowest lint bench faults soak docs dashboards pictures golden dist checkov debootstrap clean

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(STAMP)-test: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(STAMP)-lint: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	touch $@

run: $(STAMP) ## Watch a small demo workload: /metrics on :19990, the query API on 127.0.0.1:19991
	$(BIN)/prom-probe run -- $(BIN)/python -m prom_probe.demo

# For two cores: some unit tests wait, and of all tests many do. WORKERS=N for another number.
quick: WORKERS ?= 3
test: WORKERS ?= 6
# Each test file is rewritten by pytest once, not by each worker in each run.
export PYTHONDONTWRITEBYTECODE :=
# A file's tests stay with one worker: they share what the file starts. RANDOM=SEED shuffles files and tests.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(RANDOM),--random-order=$(RANDOM))

quick: $(STAMP)-test ## Unit tests: nothing but this code, within a minute
	$(PYTEST) tests/unit

test: $(STAMP)-test ## All tests, some minutes; TESTS=path... for some
	$(PYTEST) $(TESTS)

test-all: ## All tests on every installed Python from 3.11 up
	@for version in $(VERSIONS); do \
	  if python$$version -c '' 2>/dev/null; then \
	    echo "== Python $$version"; \
	    $(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON=python$$version || exit 1; \
	  fi; \
	done

lowest: ## Unit tests with the lowest versions that pyproject.toml allows
	mkdir -p build
	$(PYTHON) -m tests.support.lowest > build/lowest.txt
	PIP_CONSTRAINT=build/lowest.txt $(MAKE) --no-print-directory quick VENV=.venv-lowest

jobs: $(STAMP)-test ## All scenarios of COMMAND's life, bare and wrapped: 5 minutes; NAMES=regex... for some
	$(BIN)/python -m tests.e2e.jobs $(NAMES)

lint: $(STAMP)-lint ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: $(STAMP)-test ## Write the golden files anew, after a change of what is collected: look at the difference
	GOLDEN=write $(BIN)/python -m pytest tests/unit/collectors/test_golden.py tests/e2e/test_machines.py -k golden

bench: $(STAMP)-test ## All benchmarks: half an hour; writes bench/results.json, docs/benchmarks.md, README's table, plots
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,bench]'
	$(BIN)/python -m bench

faults: $(STAMP)-test ## Each system call of the supervisor fails once, with each error: half an hour
	$(BIN)/python -m tests.support.faults

soak: $(STAMP)-test ## The program beside all that can befall it, for MINUTES, and a verdict; needs root and prometheus
	$(BIN)/python -m tests.support.soak --minutes $(MINUTES)

docs: $(STAMP)-test ## The pages, and the chart's schema, that are written from the code's own tables
	$(BIN)/python -m prom_probe.config.page > docs/configuration.md
	$(BIN)/python -m prom_probe.cli.metrics_doc docs/metrics.md
	$(BIN)/python -m tests.deploy.schema

dashboards: $(STAMP)-test ## grafana/dashboards from grafana/panels.py
	$(BIN)/python -m grafana.build

pictures: $(STAMP)-test ## docs/pictures from two runs of two minutes; needs node, npm and chromium
	$(BIN)/python -m tests.grafana_render.pictures
	$(BIN)/python -m tests.grafana_render.page_pictures

dist: $(VENV)/bin/pip ## sdist and wheel in dist/, checked as the index would
	rm -rf dist
	$(BIN)/pip install --quiet --disable-pip-version-check build twine check-wheel-contents
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

checkov: $(STAMP)-test ## Checkov's opinion on the manifests and the Dockerfile; installs 300 MB
	test -x .venv-checkov/bin/checkov || { $(PYTHON) -m venv .venv-checkov && .venv-checkov/bin/pip install --quiet checkov; }
	$(BIN)/python -m tests.deploy.tools build/checkov
	.venv-checkov/bin/checkov --config-file deploy/checkov.yaml -d build/checkov

debootstrap: $(STAMP)-test ## The Dockerfile's steps in a Debian of their own; needs root and debootstrap
	$(BIN)/python -m tests.deploy.debootstrap

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
