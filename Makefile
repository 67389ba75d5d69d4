# Everything that is made here is made inside .work/, and `make clean` removes it.
# Choose the Python with `make PYTHON=…`; otherwise the newest of 3.11 to 3.13 is taken.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test unit template library engine engine-sqlite engine-postgresql unit-postgresql bench lint lock upgrade screenshots clean environments FORCE

TEMPLATE := {{cookiecutter.project_slug}}
TOOLS := .work/tools/bin
TOM := .work/tom
LIBRARY := .work/library

# What a caller has set for another project must not reach this one: a DATABASE_URL here
# would have the demonstration write into a real database.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV DJANGO_SETTINGS_MODULE
unexport DATABASE_URL SECRET_KEY DEBUG ALLOWED_HOSTS HTTPS BEHIND_PROXY PYTHON

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A TOM without compiled bytecode starts three times as slowly.
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS := 1

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: environments  ## generate a TOM and let it fetch data from a simulated observatory
	@tools/demo.sh

# REQUIRE_ALL=1: a skipped test is a failure.
test: unit template  ## run the tests of the library and of the template

# `make unit ARGS='tests/unit/test_due.py -x'` runs a part, as `make template` and `make engine` do.
unit: library  ## test the library
	$(LIBRARY_PYTEST) $(or $(ARGS),tests/unit)

template: environments  ## test the template: bake it, and use what it makes
	@mkdir -p .work/home .work/tmp
	TOM_PYTHON='$(CURDIR)/$(TOM)/bin/python' $(PYTEST) $(ARGS)

# Ten minutes and more, on an idle machine. Each part has a process of its own, and those on
# PostgreSQL a server.
engine: library  ## test the library under load and under fire, and on PostgreSQL
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target \
	    engine-postgresql engine-sqlite $(if $(ARGS),,unit-postgresql)

engine-sqlite: library
	$(LIBRARY_PYTEST) -n 0 $(or $(ARGS),tests/engine)

engine-postgresql: library
	$(ON_POSTGRESQL) -n 0 $(or $(ARGS),tests/engine)

# What needs no database behaves alike on both.
unit-postgresql: library
	$(ON_POSTGRESQL) -n 0 -m django_db tests/unit

# `make bench ARGS='idle completed --records=50'` runs a part, or a small one.
bench: environments  ## measure updatedata beside the tutorial's loop (a quarter of an hour)
	@mkdir -p .work/home .work/tmp
	@PYTHONPATH=tests/template:tests/shared TOM_PYTHON='$(CURDIR)/$(TOM)/bin/python' $(AT_HOME) $(TOOLS)/python -B bench $(ARGS)

lint: .work/tools/complete  ## check the style of the code, and the workflow
	$(TOOLS)/ruff check tom_auto hooks tests tools bench
	$(TOOLS)/ruff format --check tom_auto hooks tests tools bench
	cd '$(TEMPLATE)' && $(RUFF) check --no-cache app && $(RUFF) format --no-cache --check app
	$(TOOLS)/shellcheck tools/*.sh .ci/run
	$(TOOLS)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	tools/actionlint.sh .github/workflows/*.yml

lock: .work/tools/complete  ## make the lock files again after a change to a pyproject.toml
	$(UV) pip compile $(OPTIONS) --group dev -o requirements-dev.txt
	cd '$(TEMPLATE)' && $(UV) pip compile $(LOCK) -o requirements.txt
	cd '$(TEMPLATE)' && $(UV) pip compile $(LOCK) --extra dev -o requirements-dev.txt
	cd tests && $(UV) pip compile requirements.in $(OPTIONS) --python-version 3.11 \
	    -c '../$(TEMPLATE)/requirements.txt' -o requirements.txt

upgrade: UPGRADE := --upgrade
upgrade: lock  ## the same, and take the newest release of every package

# Needs a Chromium.
screenshots: environments  ## make the pictures in docs/screenshots again
	@mkdir -p .work/home .work/tmp
	HOME='$(CURDIR)/.work/home' TMPDIR='$(CURDIR)/.work/tmp' $(TOOLS)/python tools/screenshots.py

clean:  ## remove everything that make has made
	rm -rf .work .pytest_cache .ruff_cache

RUFF = '$(CURDIR)/$(TOOLS)/ruff'
AT_HOME = HOME='$(CURDIR)/.work/home' TMPDIR='$(CURDIR)/.work/tmp'
PYTEST = $(AT_HOME) $(TOOLS)/python -m pytest
LIBRARY_PYTHON = $(LIBRARY)/bin/python -m pytest -c tests/library.ini -p no:cacheprovider
LIBRARY_PYTEST = $(AT_HOME) $(LIBRARY_PYTHON)
ON_POSTGRESQL = $(AT_HOME) $(LIBRARY)/bin/python tests/shared/postgres.py $(LIBRARY_PYTHON)
UV = '$(CURDIR)/$(TOOLS)/uv'
OPTIONS = --quiet --universal --generate-hashes --no-annotate --no-strip-extras $(UPGRADE)
LOCK = pyproject.toml $(OPTIONS)

environments: .work/tools/complete $(TOM)/complete

# Cookiecutter, pytest, ruff, uv: what makes and checks a TOM.
.work/tools/complete: requirements-dev.txt .work/python
	@echo 'Making .work/tools: Cookiecutter, pytest and other tools'
	@"$$(cat .work/python)" -m venv --clear .work/tools
	@$(TOOLS)/python -m pip install -qq --require-hashes -r requirements-dev.txt
	@touch $@

# The packages of a generated TOM. Where uv cannot reach the index that pip is set up for, pip
# installs the same lock.
$(TOM)/complete: $(TEMPLATE)/requirements-dev.txt .work/python | .work/tools/complete
	@echo 'Making $(TOM): the packages of a TOM, from its lock file'
	@"$$(cat .work/python)" -m venv --clear --without-pip $(TOM)
	@$(TOOLS)/uv pip sync --quiet --require-hashes --python $(TOM)/bin/python '$<' || \
	    $(TOOLS)/python -m pip --python $(TOM)/bin/python install -qq --require-hashes -r '$<'
	@touch $@

library: $(LIBRARY)/complete
	@mkdir -p .work/home .work/tmp

# The same, and what the tests of the library need beside them, such as an object store.
$(LIBRARY)/complete: $(TEMPLATE)/requirements.txt tests/requirements.txt .work/python | \
    .work/tools/complete
	@echo 'Making $(LIBRARY): the packages of a TOM, and those of the tests of the library'
	@"$$(cat .work/python)" -m venv --clear --without-pip $(LIBRARY)
	@$(TOOLS)/uv pip sync --quiet --require-hashes --python $(LIBRARY)/bin/python \
	    '$<' tests/requirements.txt
	@touch $@

.work/python: FORCE
	@tools/choose_python.sh $@ $(PYTHON)
FORCE:
