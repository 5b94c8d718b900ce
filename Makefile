# From a fresh clone: `make quickstart` trains and generates, `make test` runs the fast tests.
# Both set themselves up; nothing but Python 3.11 to 3.13, make and a package index is needed.
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/quickstart
BIN := $(VENV)/bin
# Two files at a time: most of a test is one thread that compiles.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: quickstart test lint slow-test tree-mode-test clean
.DELETE_ON_ERROR:

quickstart: $(VENV)/.installed
	$(BIN)/python -m otuken_jax.quickstart --workdir $(WORKDIR)

test: $(VENV)/.installed-test
	$(PYTEST)

# In the order of tests/conftest.py, not by the number of tests in a file.
slow-test: $(VENV)/.installed-test
	$(PYTEST) -m slow --durations=15 --no-loadscope-reorder

tree-mode-test: $(VENV)/.installed-test
	NNX_GRAPH_MODE=false NNX_GRAPH_UPDATES=false $(PYTEST) tests/models tests/training

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Before the environment is made: one of another Python would be kept.
FITTING := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

$(BIN)/python:
	@$(PYTHON) -c '$(FITTING)' 2>/dev/null || { \
		echo "error: $(PYTHON) is no Python 3.11 to 3.13; give one, as in make PYTHON=python3.12" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs
