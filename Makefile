# Every target works alone, on a bare machine too: the first use makes .venv and installs what it needs (torch from
# PyPI is several gigabytes), the next ones take seconds. The stamps are remade when pyproject.toml changes.

PYTHON ?= python3
VENV   ?= .venv
PORT   ?=
ARGS   ?=

PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check
RUN    := $(VENV)/.camwidgets-run
DEV    := $(VENV)/.camwidgets-dev

export PIP_ROOT_USER_ACTION = ignore
# A person at a terminal wants to see several gigabytes arrive; a log does not.
ifdef CI
export PIP_QUIET = 1
endif

.DEFAULT_GOAL := help
.PHONY: help lab test bench lint format browser pictures toy-model clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

lab: $(RUN)  ## JupyterLab with the first notebook  (PORT=8899, ARGS="--no-browser")
	@$(PY) -m camwidgets.cli lab $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(DEV)  ## every test, real-browser ones included  (ARGS="-k cli")
	@browser=$$($(PY) tools/browser.py) && CAMWIDGETS_CHROMIUM="$$browser" $(PY) -m pytest $(ARGS)

bench: $(DEV)  ## how fast and how good, side by side with the neighbours  (ARGS=…)
	@$(PY) -m benchmarks $(ARGS)

lint: $(DEV)  ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: $(DEV)  ## let ruff lay the code out
	@$(PY) -m ruff check --fix-only --quiet . ; $(PY) -m ruff format .

browser: $(DEV)  ## the Chromium that the tests use
	@$(PY) tools/browser.py

pictures: $(DEV)  ## the pictures of README, screenshots included
	@browser=$$($(PY) tools/browser.py) && CAMWIDGETS_CHROMIUM="$$browser" $(PY) -m tools.pictures

toy-model: $(RUN)  ## train the shipped toy networks anew  (ARGS="--check": compare instead of replace)
	@$(PY) tools/train_toy.py $(ARGS)

clean:  ## remove the environment and everything that was made
	rm -rf $(VENV) build dist artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(RUN): pyproject.toml
	@bash tools/venv $(VENV)
	@echo "Installing camwidgets into $(VENV) (the first time this brings torch, several GB)."
	@$(PIP) install -e .
	@touch $@

$(DEV): pyproject.toml
	@bash tools/venv $(VENV)
	@echo "Installing camwidgets with its test and lint tools into $(VENV) (the first time this brings torch, several GB)."
	@$(PIP) install -e '.[all]'
	@touch $(RUN) $@
