# Two commands: `make demo` and `make test`. Both make the virtual environment they need, and nothing twice.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

.PHONY: demo test lint python-tests script-tests programs clean

demo: $(VENV)/demo
	@echo 'The demo is at http://localhost:6543/ (Ctrl-C stops it).'
	@exec $(BIN)/pserve development.ini

test: lint python-tests script-tests

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

python-tests: $(VENV)/dev programs
	$(BIN)/pytest

script-tests: programs
	sh tests/js/run.sh

programs:
	@sh tests/programs.sh

# An environment for each set of extras: the demo needs no test tools.
$(VENV)/demo $(VENV)/dev: setup.py pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$(@F)]'
	@touch $@

clean:
	rm -rf $(VENV) node_modules build dist *.egg-info var
