# Every target sets itself up in .venv; nothing is needed but Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types bench score score-fast accuracy docs wheel clean

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(RUN_READY)  ## replay the search on all seven backends and compare them in demo/report.md
	$(BIN)/corelens replay study --scale small --evaluations batched,per-genome --limit-threads env --output demo --force

test: $(DEV_READY)  ## run the tests
	$(BIN)/python -m pytest --no-needless-skips

lint: $(DEV_READY)  ## look for mistakes and wrong formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_READY)  ## repair formatting
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(DEV_READY)  ## check types with mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(DEV_READY)  ## measure what recording costs
	for program in benchmarks/*.py; do echo "== $$program"; $(BIN)/python "$$program" || exit 1; done

# Another collection of programs with its own way to count is asked too, where one lies beside this folder.
OTHER_SCORE := ../shared/cases/score

score: $(DEV_READY)  ## record all pathologies without and with their fix, and count right verdicts
	@code=0; $(BIN)/corelens replay pathology --all --output score --force || code=$$?; \
		if [ -x $(OTHER_SCORE) ]; then $(OTHER_SCORE) $(BIN)/corelens || code=$$?; fi; exit $$code

# Share of verdicts that must be right; a machine that others use at the same time misses a few.
LEAST ?= 1

score-fast: $(DEV_READY)  ## record some pathologies of each verdict, in minutes
	$(BIN)/corelens replay pathology --fast --output score-fast --force --least $(LEAST)

accuracy: $(DEV_READY)  ## as score, and write the table to docs/accuracy.md
	$(BIN)/corelens replay pathology --all --output score --force --accuracy docs/accuracy.md

# The pictures in the README are those of the last demo.
docs: $(DEV_READY)  ## generate the reference pages again, and take over the demo's pictures
	$(BIN)/python docs/generate.py
	@if [ -d demo/report-images ]; then \
		cp demo/report-images/2-busy-cores.png docs/images/busy-cores.png; fi

wheel: $(DEV_READY)  ## build the wheel and try it in an empty place
	$(BIN)/python .ci/check_wheel.py

clean:  ## remove everything that make made
	rm -rf $(VENV) build dist demo score score-fast *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "corelens needs Python 3.11 or newer, and $(PYTHON) is not; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make a virtual environment; install it with: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp is younger than what it was made from, so a changed dependency installs again by itself.
$(RUN_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV); the first time takes minutes'
	@$(PIP) --editable '.[all]'
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV); the first time takes minutes'
	@$(PIP) --editable '.[all,dev]'
	@touch $@ $(RUN_READY)
