# Two commands: `make demo` and `make test`; and `make bench`. Each makes the virtual environment it needs, once.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

LOCALE = pyramid_progress/locale

.PHONY: demo test bench lint python-tests script-tests programs messages clean

demo: $(VENV)/demo
	@echo 'The demo is at http://localhost:6543/ (Ctrl-C stops it).'
	@exec $(BIN)/pserve development.ini

test: lint python-tests script-tests

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

python-tests: $(VENV)/dev node_modules
	$(BIN)/pytest

script-tests: node_modules
	sh tests/js/run.sh

bench: $(VENV)-bench/bench programs
	$(VENV)-bench/bin/python -m benchmarks

programs:
	@sh tests/programs.sh

# Bring the message catalogues up to what pyramid_progress/words.py says; the translations are then made in the .po files.
messages: $(VENV)/dev
	$(BIN)/pot-create --package-name pyramid_progress --no-linenumbers --output $(LOCALE)/pyramid_progress.pot pyramid_progress
	$(BIN)/pybabel --quiet update --domain pyramid_progress --input-file $(LOCALE)/pyramid_progress.pot \
	    --output-dir $(LOCALE) --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 120
	$(BIN)/pybabel --quiet compile --domain pyramid_progress --directory $(LOCALE)

# Without npm, what needs these packages is skipped; with CI=true it fails.
node_modules: package.json | programs
	@if command -v npm >/dev/null 2>&1; then npm install --silent --no-package-lock --no-audit --no-fund && touch $@; fi

# Each file stands for an extra that is installed; the peers that `make bench` measures against have an environment of
# their own, for all that they bring along.
$(VENV)/demo $(VENV)/dev $(VENV)-bench/bench: setup.py pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(@F)]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench node_modules build dist *.egg-info var
