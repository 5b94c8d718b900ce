# From a fresh clone: `make quickstart` trains and generates, `make test` runs the fast tests.
# Both set themselves up; nothing but Python >= 3.11, make and a package index is needed.
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/quickstart
SLOW ?= tests
BIN := $(VENV)/bin

.PHONY: quickstart test lint slow-test clean
.DELETE_ON_ERROR:

quickstart: $(VENV)/.installed
	$(BIN)/python -m otuken_jax.quickstart --workdir $(WORKDIR)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest

slow-test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow $(SLOW)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs
