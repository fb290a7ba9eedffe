# Two commands: `make demo` and `make test`; and `make bench`. Each makes the virtual environment it needs, once.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

.PHONY: demo test bench lint python-tests script-tests programs clean

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

bench: $(VENV)-bench/bench programs
	$(VENV)-bench/bin/python -m benchmarks

programs:
	@sh tests/programs.sh

# Each file stands for an extra that is installed; the peers that `make bench` measures against have an environment of
# their own, for all that they bring along.
$(VENV)/demo $(VENV)/dev $(VENV)-bench/bench: setup.py pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(@F)]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench node_modules build dist *.egg-info var
