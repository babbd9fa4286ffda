# Commands for users and contributors; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
OLDEST := .venv-oldest
LIVE := .venv-live
ZERO_CODE := .venv-zero-code
BIN := $(VENV)/bin
# Tests of one file run in one worker, since they share servers; tests/conftest.py lists the exceptions and what starts first.
PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder
# The environments are created concurrently. Their output is kept in whole lines if make supports it.
CONCURRENTLY := --no-print-directory --jobs=5 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line)
# Deletions, exports, backups, moves and expiry are killed at random too.
FAULTS := tests/faults tests/deletions/test_killed_at_random.py tests/deletions/test_event_deletion.py \
	tests/exports/test_killed.py tests/backups/test_drill.py tests/regions/test_move.py tests/retention/test_expiry.py \
	tests/retention/test_finalised_days.py
PARTS := schema processor exporter instrumentation backend local_provider cli
CODE := $(PARTS) collector tests benchmarks examples scripts

.DEFAULT_GOAL := help
.PHONY: help demo test zero-code-environment collector-tests vendor-tests faults check format prices collector collector-config clean
.PHONY: environments collector-for-tests checked

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## run the demo: real client packages, a local provider, the backend
	@$(BIN)/infraprism demo $(ARGS)

test: ## run all tests: newest and oldest client packages, and with other instrumentations
	@$(MAKE) $(CONCURRENTLY) environments
	$(BIN)/pytest $(PARALLEL) --ignore=tests/live $(ARGS)
	$(OLDEST)/bin/pytest $(PARALLEL) tests/instrumentation $(ARGS)
	$(LIVE)/bin/pytest tests/live $(ARGS)

environments: $(VENV)/.test $(OLDEST)/.test $(LIVE)/.test $(ZERO_CODE)/.made collector-for-tests

collector-for-tests:
	@[ -n "$$OTELCOL" ] || $(PYTHON) collector/build.py > /dev/null || [ -z "$$CI" ]

zero-code-environment: $(ZERO_CODE)/.made ## create the environment of tests/zero_code

collector-tests: $(VENV)/.test collector-for-tests ## test collector-config.yaml on a real Collector (yours with OTELCOL=path)
	$(BIN)/pytest $(PARALLEL) tests/collector $(ARGS)

vendor-tests: $(VENV)/.test ## run the test suites of openai and anthropic with and without instrumentation
	$(BIN)/python -m tests.vendor $(ARGS)

faults: $(VENV)/.test ## fill disks under load and damage files, 20 seeds each: no acknowledged event may be lost; needs root
	FAULTS_REQUIRED=1 FAULT_SEEDS=20 FAULT_SECONDS=20 $(BIN)/pytest --numprocesses 2 tests/faults tests/deletions $(ARGS)

check: ## format, lint, strict types, then the tests
	@$(MAKE) $(CONCURRENTLY) checked environments
	@$(MAKE) --no-print-directory test

checked: $(VENV)/.check
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(PARTS) collector

format: $(VENV)/.check ## format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

prices: $(VENV)/.test ## rebuild the price table and print each changed rate
	$(BIN)/python scripts/prices/compile.py $(ARGS)

collector: ## build the OpenTelemetry Collector of the tests, once per manifest; needs Go
	@$(PYTHON) collector/build.py

collector-config: $(VENV)/.test ## regenerate collector-config.yaml
	$(BIN)/python -m collector.generator

clean: ## remove environments and build results
	rm -rf $(VENV) $(OLDEST) $(LIVE) $(ZERO_CODE) build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(OLDEST)/bin/python:
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --upgrade pip

$(LIVE)/bin/python:
	@$(PYTHON) -m venv $(LIVE)
	@$(LIVE)/bin/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	@echo "Installing InfraPrism and what the demo needs into $(VENV) (a minute or two, once) ..." >&2
	@$(BIN)/python -m pip install --quiet --editable '.[server]' --group demo
	@touch $@

# With PYTHONDONTWRITEBYTECODE set, every process that a test starts would compile all modules again.
$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	@echo "Installing InfraPrism and what the tests need into $(VENV) (a minute or two, once) ..." >&2
	@$(BIN)/python -m pip install --quiet --editable '.[server]' --group test
	@$(BIN)/python -m compileall -q $(PARTS)
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --group check
	@touch $@

$(OLDEST)/.test: $(OLDEST)/bin/python pyproject.toml
	@echo "Installing the oldest supported client packages into $(OLDEST) ..." >&2
	@$(OLDEST)/bin/python -m pip install --quiet --editable . --group oldest
	@touch $@

$(LIVE)/.test: $(LIVE)/bin/python pyproject.toml
	@echo "Installing InfraPrism and other instrumentations into $(LIVE) (a minute or two, once) ..." >&2
	@$(LIVE)/bin/python -m pip install --quiet --editable . --group live
	@touch $@

# The dependencies of InfraPrism without InfraPrism: the tests add it, the distro, and the last gunicorn with an eventlet
# worker by path.
$(ZERO_CODE)/.made: pyproject.toml
	@echo "Installing what the zero-code tests run into $(ZERO_CODE) (a minute, once) ..." >&2
	@rm -rf $(ZERO_CODE)
	@$(PYTHON) -m venv $(ZERO_CODE)
	@$(ZERO_CODE)/bin/python -m pip install --quiet --upgrade pip
	@$(ZERO_CODE)/bin/python -m pip install --quiet . --group zero_code
	@$(ZERO_CODE)/bin/python -m pip uninstall --quiet --yes infraprism-opentelemetry
	@$(ZERO_CODE)/bin/python -m pip install --quiet --no-deps --target $(ZERO_CODE)/distro 'opentelemetry-distro>=0.66b2'
	@$(ZERO_CODE)/bin/python -m pip install --quiet --no-deps --target $(ZERO_CODE)/gunicorn-25 'gunicorn<26'
	@touch $@
