# Everything that is made here is made inside .work/, and `make clean` removes it.
# Choose the Python with `make PYTHON=…`; otherwise the newest of 3.11 to 3.13 is taken.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bare unit template library engine engine-sqlite engine-postgresql engine-apart unit-postgresql pythons bounds bench lint docs reference licences lock upgrade release screenshots clean environments FORCE

TEMPLATE := {{cookiecutter.project_slug}}
TOOLS := .work/tools/bin
TOM := .work/tom
LIBRARY := .work/library

# What a caller has set for another project must not reach this one: a DATABASE_URL here
# would have the demonstration write into a real database.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV DJANGO_SETTINGS_MODULE
unexport DATABASE_URL SECRET_KEY DEBUG ALLOWED_HOSTS HTTPS BEHIND_PROXY PYTHON
# Some machines forbid bytecode: every process would compile all tests again.
unexport PYTHONDONTWRITEBYTECODE

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
	TOM_PYTHON='$(CURDIR)/$(TOM)/bin/python' MPLCONFIGDIR='$(CURDIR)/.work/matplotlib' $(PYTEST) $(ARGS)

# A quarter of an hour, on an idle machine. Each part has a process of its own, and those on PostgreSQL
# a server.
engine: library  ## test the library under load and under fire, and on PostgreSQL
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target \
	    engine-postgresql engine-sqlite $(if $(ARGS),,unit-postgresql engine-apart)

# These begin when another part has ended. In engine-sqlite, everything else would wait for them.
APART := tests/engine/test_any_answer.py tests/engine/test_soak.py

engine-sqlite: library
	$(LIBRARY_PYTEST) -n 0 $(or $(ARGS),$(APART:%=--ignore=%) tests/engine)

engine-apart: library
	$(LIBRARY_PYTEST) -n 0 $(APART)

# These behave alike on both databases, and take long; so does what needs no database. With ALIKE= and
# ALIKE_UNITS= on make's command line, all of them run on PostgreSQL.
ALIKE := any_answer arrivals_run audit disk follow hang object_store owner process_secrets soak
ALIKE_UNITS := after_a_save alerts arrivals_pictures big_tom clockwork command data_files deadline demo doctor \
    downloads due facilities facility_process good_manners hooks muting odd_requests one_answer page_buttons \
    portal_life portal_lists redact_answers schedule_health schedule_order secrets targets_cadences targets_data \
    targets_services targets_told targets_trouble the_owners_work trouble_stays_where_it_is

engine-postgresql: library
	$(ON_POSTGRESQL) -n 0 $(or $(ARGS),$(ALIKE:%=--ignore=tests/engine/test_%.py) tests/engine)

unit-postgresql: library
	$(ON_POSTGRESQL) -n 0 -m django_db $(ALIKE_UNITS:%=--ignore=tests/unit/test_%.py) tests/unit

# As root, with mmdebstrap: in a name space of its own, so that nothing stays mounted.
bare: .work/tools/complete  ## the printed commands, typed on a bare Debian 12 (ten minutes)
	@mkdir -p .work/home .work/tmp
	unshare --mount --propagation private $(SHELL) -c "$(PYTEST) -n 0 -s tests/bare"

pythons: library  ## test a part of the library on the other Pythons from 3.11 to 3.13
	@tools/other_pythons.sh

# The tools bring uv. Takes a few minutes.
bounds: .work/tools/complete  ## test a part of the library with the oldest and the newest packages
	@mkdir -p .work/home .work/tmp
	@tools/bounds.sh

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
	cd '$(TEMPLATE)' && $(UV) pip compile $(LOCK) --extra celery -c requirements.txt -o $(CELERY_LOCK)
	cd tests && $(UV) pip compile requirements.in $(OPTIONS) --python-version 3.11 \
	    -c '../$(TEMPLATE)/requirements.txt' -o requirements.txt

upgrade: UPGRADE := --upgrade
upgrade: lock  ## the same, and take the newest release of every package

# Strict: a link that leads nowhere is an error.
docs: .work/tools/complete  ## build the guide into .work/site
	NO_MKDOCS_2_WARNING=1 $(TOOLS)/mkdocs build --strict --quiet

reference: library  ## write docs/reference.md and messages.md, after a change to a command, a setting or a message
	cd tests && PYTHONPATH=..:.:../tools DJANGO_SETTINGS_MODULE=project.settings \
	    ../$(LIBRARY)/bin/python -c 'import django, runpy; django.setup(); \
	    [runpy.run_path(f"../tools/{page}.py", run_name="__main__") for page in ("reference", "messages")]'

licences: $(TOM)/complete  ## list the licences of the packages of a TOM, after a change to the lock
	$(TOM)/bin/python tools/licences.py

# `make release VERSION=0.3.0 ARGS=--dry-run` shows what it would be.
release: .work/tools/complete  ## make a release: versions, changelog, locks, tests, tag
	@$(TOOLS)/python tools/release.py '$(VERSION)' $(ARGS)

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
CELERY_LOCK = "{% if cookiecutter.task_engine == 'celery' %}requirements-celery.txt{% endif %}"

environments: .work/tools/complete $(TOM)/complete

# Cookiecutter, pytest, ruff, uv: what makes and checks a TOM.
.work/tools/complete: requirements-dev.txt .work/python
	@echo 'Making .work/tools: Cookiecutter, pytest and other tools'
	@"$$(cat .work/python)" -m venv --clear .work/tools
	@$(TOOLS)/python -m pip install -qq --require-hashes -r requirements-dev.txt
	@touch $@

# The packages of a generated TOM, with Celery and without. Where uv cannot reach the index that pip is set up for, pip
# installs the same lock.
$(TOM)/complete: $(TEMPLATE)/requirements-dev.txt .work/python | .work/tools/complete
	@echo 'Making $(TOM): the packages of a TOM, from its lock file'
	@"$$(cat .work/python)" -m venv --clear --without-pip $(TOM)
	@$(TOOLS)/uv pip sync --quiet --require-hashes --python $(TOM)/bin/python '$<' '$(TEMPLATE)'/$(CELERY_LOCK) || \
	    $(TOOLS)/python -m pip --python $(TOM)/bin/python install -qq --require-hashes -r '$<' \
	    -r '$(TEMPLATE)'/$(CELERY_LOCK)
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
