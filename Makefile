# Two commands do all the set-up on a fresh machine that has Python 3.11+ and make:
#   make run     the main job, on the embedded sandbox: from a connection string to a paid invoice
#   make test    everything that must hold: format, lint, types, tests, coverage

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 60
# Several processes, each file in one of them, in the order of tests/support/order.py.
SHARED := --numprocesses auto --dist loadfile --no-loadscope-reorder
COMPILE := pip compile --quiet --no-config --universal --python-version 3.11 --constraint constraints.txt --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make requirements'
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Every program of the tests starts faster from what Python has compiled before, also where the shell forbids to keep that.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run host check docs test lint types tests thorough btcpay btcpay-soak btcpay-demo compose-test format soak fuzz requirements \
	sbom bench clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/ready-to-run ## Run the main job on the embedded sandbox; needs no account
	@$(BIN)/flash-driver demo

host: $(VENV)/ready-to-host ## Serve a demo shop with its checkout page on the sandbox
	@$(BIN)/flash-driver host

test: lint ## Pass every check
	@$(MAKE) --no-print-directory --jobs=2 types tests # mypy runs on one core, while the tests are read

check: lint types ## Check format, lint, types, and the tests of what differs from the last commit; for the inner loop
	$(BIN)/python -m pytest -q $(SHARED) $$($(BIN)/python -m tests.support.changed)

lint: $(VENV)/ready-to-test ## Check format and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/ready-to-test ## Check types, strictly
	$(BIN)/mypy

tests: $(VENV)/ready-to-test ## Run the tests with branch coverage
	$(BIN)/coverage erase
	$(BIN)/python -m pytest $(SHARED) --cov --ignore tests/btcpay

thorough: $(VENV)/ready-to-test ## Run the tests with ten times the random cases, other ones each time, without coverage
	TESTS_THOROUGH=1 $(BIN)/python -m pytest $(SHARED) --ignore tests/btcpay

btcpay: $(VENV)/ready-to-test ## Sell and pay out with a real BTCPay Server, where its kit is (BTCPAY_KIT)
	$(BIN)/python -m pytest tests/btcpay

btcpay-soak: $(VENV)/ready-to-test ## Sell and pay out with BTCPay for five minutes while everything around it fails
	$(BIN)/python -m tests.btcpay.soak $(SOAK)

btcpay-demo: ## Start BTCPay, host and sandbox in containers, with a store that is ready to sell
	docker/btcpay-demo

compose-test: ## Run sandbox, two replicas and PostgreSQL in containers, and kill some meanwhile
	docker/compose-test

docs: $(VENV)/ready-to-test ## Build the documentation as a site into build/site
	$(BIN)/python -m mkdocs build -f .ci/mkdocs.yml

format: $(VENV)/ready-to-test ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/ready-to-test ## Prove over 10,000 random fault schedules that no payment is lost, invented or made twice
	$(BIN)/python -m tests.faults.soak --schedules 10000

fuzz: $(VENV)/ready-to-test ## Fuzz each target with atheris for FUZZ_SECONDS (60); needs tests/fuzz/requirements.txt
	$(PIP) --requirement tests/fuzz/requirements.txt
	mkdir -p .cache/fuzz
	for target in $$($(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)'); do \
		$(BIN)/python -m tests.fuzz $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=.cache/fuzz/$$target- || exit 1; \
	done

requirements: ## Write docker/requirements*.txt, the hashes of what the image is made of, from constraints.txt
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/python -m pip install --quiet uv==0.13.8
	.cache/uv/bin/uv $(COMPILE) pyproject.toml --extra cli --extra host --extra postgresql --extra sandbox --extra uvloop --output-file docker/requirements.txt
	echo hatchling | .cache/uv/bin/uv $(COMPILE) - --output-file docker/requirements-build.txt

sbom: $(VENV)/ready-to-host ## Write what the host is made of, as CycloneDX, into build/sbom.json
	$(PYTHON) -m venv .cache/sbom
	.cache/sbom/bin/python -m pip install --quiet cyclonedx-bom==7.5.0
	mkdir -p build
	.cache/sbom/bin/cyclonedx-py environment $(VENV) --output-file build/sbom.json

bench: $(VENV)/ready-to-test ## Measure speed, latency, memory and scale, and write docs/performance.md's figures
	$(BIN)/python -m tests.benchmarks $(BENCH)
	$(if $(BENCH),,$(BIN)/python -m tests.benchmarks.money --amounts 1000)
	$(if $(BENCH),,$(BIN)/python -m tests.benchmarks.bolt11_reading)

clean: ## Remove what was set up
	rm -rf $(VENV) .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf tests/peers/server/node_modules tests/lightning_host/greenfield/greenfield_client/node_modules

# --- set-up ---------------------------------------------------------------------------------------------------------

# A folder of another Python, or of one that is gone, is made again.
VERSION := -c 'import sys; print(*sys.version_info[:2])'
ifneq ($(shell test ! -x $(BIN)/python || $(BIN)/python $(VERSION) 2>/dev/null),$(shell $(PYTHON) $(VERSION)))
.PHONY: $(BIN)/python
endif

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "setting up $(VENV), once; that takes some minutes"
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/ready-to-run: pyproject.toml constraints.txt $(BIN)/python
	$(PIP) --constraint constraints.txt --editable '.[cli,sandbox]'
	@touch $@

$(VENV)/ready-to-host: pyproject.toml constraints.txt $(BIN)/python
	$(PIP) --constraint constraints.txt --editable '.[cli,host,sandbox]'
	@touch $@

$(VENV)/ready-to-test: pyproject.toml constraints.txt $(BIN)/python
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@
