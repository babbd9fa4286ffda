# Everything a contributor or a user runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
OLDEST := .venv-oldest
LIVE := .venv-live
ZERO_CODE := .venv-zero-code
BIN := $(VENV)/bin
# A file's tests stay together, with the server they share; tests/conftest.py says which need not, and what begins first.
SIDE_BY_SIDE := --numprocesses 4 --dist loadfile --no-loadscope-reorder
# Each environment is made by a pip that mostly waits. What is said meanwhile stays in whole lines, where make can do so.
AT_ONCE := --no-print-directory --jobs=5 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line)
PARTS := schema processor exporter instrumentation backend local_provider cli
CODE := $(PARTS) collector tests benchmarks examples scripts

.DEFAULT_GOAL := help
.PHONY: help demo test zero-code-environment collector-tests vendor-tests check format prices collector collector-config clean
.PHONY: environments collector-for-tests checked

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## see it work: real client packages, a local provider, the backend, exact events
	@$(BIN)/infraprism demo $(ARGS)

test: ## run all tests: newest and oldest client packages, and beside other instrumentations
	@$(MAKE) $(AT_ONCE) environments
	$(BIN)/pytest $(SIDE_BY_SIDE) --ignore=tests/live $(ARGS)
	$(OLDEST)/bin/pytest $(SIDE_BY_SIDE) tests/instrumentation $(ARGS)
	$(LIVE)/bin/pytest tests/live $(ARGS)

environments: $(VENV)/.test $(OLDEST)/.test $(LIVE)/.test $(ZERO_CODE)/.made collector-for-tests

collector-for-tests:
	@[ -n "$$OTELCOL" ] || $(PYTHON) collector/build.py > /dev/null || [ -z "$$CI" ]

zero-code-environment: $(ZERO_CODE)/.made ## make the environment that the processes of tests/zero_code run in

collector-tests: $(VENV)/.test collector-for-tests ## send canaries through the collector's configuration: OTELCOL names yours
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/collector $(ARGS)

vendor-tests: $(VENV)/.test ## the vendors' own tests of openai and anthropic: the same must pass with us on as off
	$(BIN)/python -m tests.vendor $(ARGS)

check: ## format, lint, strict types, then the tests
	@$(MAKE) $(AT_ONCE) checked environments
	@$(MAKE) --no-print-directory test

checked: $(VENV)/.check
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(PARTS) collector

format: $(VENV)/.check ## format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

prices: $(VENV)/.test ## compile the price table again and print each rate that changed
	$(BIN)/python scripts/prices/compile.py $(ARGS)

collector: ## build the OpenTelemetry Collector that the tests run, once per manifest; needs Go
	@$(PYTHON) collector/build.py

collector-config: $(VENV)/.test ## make collector-config.yaml anew from its template and the tables
	$(BIN)/python -m collector.generator

clean: ## remove the environments and all that was built
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

# Where Python writes no bytecode (PYTHONDONTWRITEBYTECODE) each process that a test starts would compile all of it anew.
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
	@echo "Installing other instrumentations beside InfraPrism into $(LIVE) (a minute or two, once) ..." >&2
	@$(LIVE)/bin/python -m pip install --quiet --editable . --group live
	@touch $@

# All that InfraPrism needs and not InfraPrism itself: with and without it is then a matter of a path. So is the distro.
$(ZERO_CODE)/.made: pyproject.toml
	@echo "Installing what the zero-code tests run into $(ZERO_CODE) (a minute, once) ..." >&2
	@rm -rf $(ZERO_CODE)
	@$(PYTHON) -m venv $(ZERO_CODE)
	@$(ZERO_CODE)/bin/python -m pip install --quiet --upgrade pip
	@$(ZERO_CODE)/bin/python -m pip install --quiet . --group zero_code
	@$(ZERO_CODE)/bin/python -m pip uninstall --quiet --yes infraprism-opentelemetry
	@$(ZERO_CODE)/bin/python -m pip install --quiet --no-deps --target $(ZERO_CODE)/distro 'opentelemetry-distro>=0.66b2'
	@touch $@
