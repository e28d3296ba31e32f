# Everything a developer types. It needs Python 3.10 to 3.13 and make, and installs all else inside the checkout.

PYTHON ?= python3
UV_VERSION := 0.13.9
AIRFLOW := 3.3.2
AIRFLOW_COMPAT := 3.2.2

VENV := .venv
VENV_COMPAT := .venv-compat
CONSTRAINTS := tests/constraints/airflow-$(AIRFLOW).txt
CONSTRAINTS_COMPAT := tests/constraints/airflow-$(AIRFLOW_COMPAT).txt

# pytest's arguments, such as `make test ARGS="-k signing"`.
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# uv must take the Python it is given and never fetch one.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed  ## See it work: a real Airflow, a receiver, a task that succeeds and one that fails
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m tests.acceptance.demo

.PHONY: test
test: $(VENV)/.installed  ## Run all tests on Airflow 3.3.2
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m pytest $(ARGS)

.PHONY: test-compat
test-compat: $(VENV_COMPAT)/.installed  ## Run the acceptance tests on Airflow 3.2.2
	PATH="$(CURDIR)/$(VENV_COMPAT)/bin:$$PATH" python -m pytest tests/acceptance $(ARGS)

.PHONY: check
check: lint  ## Run what is quick: lint, then the unit and integration tests
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m pytest tests/unit tests/integration $(ARGS)

.PHONY: lint
lint: $(VENV)/.installed  ## Check style, formatting, types and who imports whom
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: bench
bench: $(VENV)/.installed  ## Measure all and write docs/benchmarks.md, in three quarters of an hour
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" AIRFLOW_HOME="$$(mktemp -d)" python -m tests.bench

.PHONY: screenshots
screenshots: $(VENV)/.installed  ## Take the pictures of docs/img from a running Airflow; needs Debian's chromium
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m tests.acceptance.screenshots

.PHONY: format
format: $(VENV)/.installed  ## Format the code and mend what ruff can mend
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

.PHONY: pins
pins: $(VENV)/.installed  ## Resolve tests/constraints again
	printf '%s\n' apache-airflow==$(AIRFLOW) airflow-provider-inbound-webhooks \
	  | $(VENV)/bin/uv pip compile $(RESOLVE) --extra test -o $(CONSTRAINTS) pyproject.toml -
	printf '%s\n' apache-airflow==$(AIRFLOW_COMPAT) \
	  | $(VENV)/bin/uv pip compile $(RESOLVE) --extra acceptance --exclude-newer 2026-06-15 \
	    --exclude-newer-package standardwebhooks=2026-11-01 --exclude-newer-package playwright=2026-11-25 \
	    -o $(CONSTRAINTS_COMPAT) pyproject.toml -

# --exclude-newer: Airflow 3.2.2 does not work with what its dependencies became after that day. The independent
# verifier and what drives the browser are none of them, and are the same on both.
RESOLVE := --universal --python-version 3.10 --upgrade --no-header --no-annotate --no-emit-index-url --quiet

.PHONY: clean
clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(VENV_COMPAT) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	  .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A provider that defines a command group `webhooks` too: tests put it on the path of an `airflow` of their own.
$(VENV)/.installed: pyproject.toml Makefile $(CONSTRAINTS)
	$(call install,$(VENV),$(CONSTRAINTS),test)
	@$(call pip,$(VENV)) --quiet --no-deps --target $(VENV)/beside -c $(CONSTRAINTS) airflow-provider-inbound-webhooks
	@touch $@

$(VENV_COMPAT)/.installed: pyproject.toml Makefile $(CONSTRAINTS_COMPAT)
	$(call install,$(VENV_COMPAT),$(CONSTRAINTS_COMPAT),acceptance)
	@touch $@

# The installer of a venv: uv, or pip where uv could not be had.
pip = $$(if [ -x $(1)/bin/uv ]; then echo $(1)/bin/uv pip install --python $(1)/bin/python; \
  else echo $(1)/bin/python -m pip install; fi)

define install
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "$(PYTHON) is not Python 3.10, 3.11, 3.12 or 3.13, which Airflow needs." \
	    "Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@[ -x $(1)/bin/python ] || $(PYTHON) -m venv $(1) || { rm -rf $(1); \
	  echo "$(PYTHON) can't make a virtual environment." \
	    "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(1)/bin/python -m pip install --quiet uv==$(UV_VERSION) || echo "No uv here: pip installs instead, slowly."
	@echo "Installing Airflow and the tests' tools into $(1) ..."
	@$(call pip,$(1)) --quiet -c $(2) -e '.[$(3)]'
endef
