# `make demo` runs the demo, `make test` the tests for daily work, `make check` all tests and checks, `make bench` the
# benchmarks, `make docs` the documentation. Each creates the virtual environment that it needs, once.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

LOCALE = pyramid_progress/locale

# The tests start many programs, which would compile the package anew each time.
export PYTHONDONTWRITEBYTECODE =

# The tests of a file share servers and pages. Browsers and servers wait a lot: more processes than cores. Some tests have
# a bound in seconds, which a loaded machine can miss: a test that fails runs once more, and is listed as rerun. Those that
# fail again run for the last time one after the other.
PYTEST = -m pytest -q --numprocesses 6 --dist loadfile --no-loadscope-reorder --reruns 1
ALONE = $(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none

.PHONY: demo test check lint lint-python lint-scripts python-tests script-tests coverage slow-tests versions environments \
    manifest bench docs screenshots programs engines messages clean

demo: $(VENV)/demo
	@echo 'The demo is at http://localhost:6543/ (Ctrl-C stops it).'
	@exec $(BIN)/pserve development.ini

test: lint-python script-tests python-tests

# All tests, with coverage, and all checks. One of the slow tests builds the documentation. Only what needs one processor
# runs beside something else: tests take longer then, and some have a bound in seconds.
check: engines $(VENV)/dev node_modules
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target environments lint-python script-tests
	@$(MAKE) --no-print-directory coverage slow-tests versions manifest

lint: lint-python lint-scripts

lint-python: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/prose.py

lint-scripts: node_modules
	@if command -v npm >/dev/null 2>&1; then npm run --silent --if-present lint; fi

python-tests: $(VENV)/dev node_modules
	$(BIN)/python $(PYTEST) -m 'not slow' || $(ALONE) -m 'not slow'

# The tests of `make test` that need no browser, and the lines that they have run, in all their processes.
coverage: $(VENV)/dev node_modules
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) -m 'not slow and not browser' || $(ALONE) -m 'not slow and not browser'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# All other tests.
slow-tests: $(VENV)/dev node_modules
	$(BIN)/python $(PYTEST) -m 'slow or browser' || $(ALONE) -m 'slow or browser'

# The tests that need no browser, with the other versions of Python that are installed.
versions: $(VENV)/dev
	$(BIN)/nox --no-error-on-missing-interpreters

environments: $(VENV)/dev
	$(BIN)/nox --no-error-on-missing-interpreters --install-only

# The source distribution has every file of the repository, apart from those that pyproject.toml names.
manifest: $(VENV)/dev
	$(BIN)/check-manifest

# This runs the linter, too.
script-tests: node_modules
	sh tests/js/run.sh

bench: $(VENV)-bench/bench programs
	$(VENV)-bench/bin/python -m benchmarks

# The documentation, in build/docs. A warning is an error.
docs: $(VENV)/docs
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
	@echo 'The documentation is in build/docs/index.html.'

# The pictures of the documentation and of README.md, from the demo, with the system's Chromium.
screenshots: $(VENV)/dev programs
	$(BIN)/python docs/screenshots.py

programs:
	@sh tests/programs.sh

# The browsers that only `make check` drives.
engines:
	@sh tests/programs.sh engines

# Update the message catalogues from pyramid_progress/model/messages.py. The translations are then written into the .po
# files, and this is run again.
messages: $(VENV)/dev
	$(BIN)/pot-create --package-name pyramid_progress --no-linenumbers --output $(LOCALE)/pyramid_progress.pot pyramid_progress
	$(BIN)/pybabel --quiet update --domain pyramid_progress --input-file $(LOCALE)/pyramid_progress.pot \
	    --output-dir $(LOCALE) --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 120
	$(BIN)/pybabel --quiet compile --domain pyramid_progress --directory $(LOCALE)

# Without npm, the tests that need these packages are skipped; with CI=true they fail.
node_modules: package.json | programs
	@if command -v npm >/dev/null 2>&1; then npm install --silent --no-package-lock --no-audit --no-fund && touch $@; fi

# Each file stands for an extra that is installed. The packages that `make bench` compares with have an environment of
# their own, because of their many dependencies.
$(VENV)/demo $(VENV)/docs $(VENV)/dev $(VENV)-bench/bench: setup.py pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(@F)]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench .nox .coverage* node_modules build dist *.egg-info var
