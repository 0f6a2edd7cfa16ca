# PlexLink. `make sandbox` shows it, `make test` tests it, `make run` starts it; each sets up what it needs in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOWEST := $(VENV)/lowest

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where things are installed is said here: what users set for other programs stays out, but for their index.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT UV_REQUIRE_HASHES
# As pip does: whoever has a proxy with a certificate of its own has told the system of it.
export UV_SYSTEM_CERTS ?= 1

# pip, of whatever age, installs one pinned package: uv. That installs all others, exactly as the locks have them.
UV      := $(VENV)/installer/bin/uv
INTO     = $(BIN)/python
INSTALL  = $(UV) pip install --quiet --python $(INTO)
LOCKED   = $(INSTALL) --require-hashes -r
PROJECT  = $(INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=strict -e .

# Extras stay in: pip 23.2 takes `coverage[toml]`, wanted by another package, for unpinned beside a bare `coverage`.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
          --no-strip-extras --no-header --upgrade

# $(call step,what it does,how): one line a step, and the time it took.
step = @printf '%s … ' '$(1)'; start=$$(date +%s); { $(2); } && echo "$$(($$(date +%s) - start)) s"

# Scripts of an environment name its place and its Python: moved, copied or without that Python it is made anew.
SPOILED := $(shell [ -e $(VENV) ] || exit; \
             grep -qsF " $$(pwd -P)/$(VENV)" $(VENV)/pyvenv.cfg || { echo it was made in another folder; exit; }; \
             $(BIN)/python -Ic 'import pip, ssl' 2>/dev/null || echo its Python is gone or another one)

.PHONY: sandbox run test lowest proof coverage soak fuzz bench lint format pictures lock clean FORCE
.DELETE_ON_ERROR:

sandbox: $(VENV)/sandbox.stamp
	@exec $(BIN)/plexlink sandbox $(ARGS)

run: $(VENV)/run.stamp
	@exec $(BIN)/plexlink run

# The tests mostly wait for processes and sockets: four at a time fill two cores.
PYTEST = $(BIN)/pytest -n 4 --dist worksteal

test: $(VENV)/dev.stamp
	$(PYTEST) $(ARGS)

lowest: $(VENV)/lowest.stamp
	$(LOWEST)/bin/pytest -n 4 --dist worksteal tests/unit $(ARGS)

proof: $(VENV)/dev.stamp
	$(PYTEST) tests/proof tests/benchmarks $(ARGS)

coverage: $(VENV)/dev.stamp
	$(PYTEST) tests --cov --cov-report=term:skip-covered $(ARGS)

SOAKED = tests/proof/test_random_kills.py tests/proof/test_crashes.py \
	tests/proof/test_handover.py::test_nothing_is_lost_whichever_process_is_struck

soak: $(VENV)/dev.stamp
	PLEXLINK_KILLS=$(or $(KILLS),200) $(BIN)/pytest -n 2 $(SOAKED) $(ARGS)

fuzz: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist load --hypothesis-profile=fuzz --timeout=900 tests/fuzz $(ARGS)

bench: $(VENV)/dev.stamp
	PYTHONPATH=tests:tests/e2e:tests/proof $(BIN)/python -W ignore tests/benchmarks/bench.py $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml deploy/compose.postgres.yaml
	$(BIN)/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/base/*.yaml))
	@# hadolint has nothing for Windows.
	[ ! -e $(BIN)/hadolint ] || $(BIN)/hadolint deploy/Dockerfile

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: $(VENV)/dev.stamp
	PYTHONPATH=tests/e2e $(BIN)/python tests/proof/pictures.py

lock: $(UV)
	$(COMPILE) --group installer -o requirements-installer.lock
	$(COMPILE) pyproject.toml --extra bot --extra postgres --group build -o requirements.lock
	$(COMPILE) pyproject.toml --extra bot --extra postgres --extra sandbox --group build -o requirements-sandbox.lock
	$(COMPILE) pyproject.toml --extra bot --extra postgres --extra sandbox --group dev -o requirements-dev.lock
	$(COMPILE) pyproject.toml --extra bot --extra postgres -c .ci/red.txt --resolution lowest-direct -o $(VENV)/lowest.txt
	$(COMPILE) pyproject.toml --extra bot --extra postgres --extra sandbox --group dev -c .ci/red.txt -c $(VENV)/lowest.txt \
	 -o requirements-lowest.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/run.stamp: requirements.lock pyproject.toml $(VENV)/files $(UV)
	$(call step,Installing what the bot needs,$(LOCKED) requirements.lock)
	$(call step,Installing the bot,$(PROJECT))
	@touch $@

$(VENV)/sandbox.stamp: requirements-sandbox.lock pyproject.toml $(VENV)/files $(UV)
	$(call step,Installing what the sandbox needs,$(LOCKED) requirements-sandbox.lock)
	$(call step,Installing the bot,$(PROJECT))
	@touch $@ $(VENV)/run.stamp

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml $(VENV)/files $(UV)
	$(call step,Installing what the tests need,$(LOCKED) requirements-dev.lock)
	$(call step,Installing the bot,$(PROJECT))
	@touch $@ $(VENV)/sandbox.stamp $(VENV)/run.stamp

$(VENV)/lowest.stamp: INTO = $(LOWEST)/bin/python
$(VENV)/lowest.stamp: requirements-lowest.lock pyproject.toml $(VENV)/files $(UV)
	$(call step,Installing the lowest versions,$(UV) venv --quiet --clear --python $(BIN)/python $(LOWEST) && \
	 $(LOCKED) requirements-lowest.lock)
	$(call step,Installing the bot,$(PROJECT))
	@touch $@

# A strict editable install links each file: a new or moved file asks for a new install, an edit does not.
$(VENV)/files: FORCE $(BIN)/pip
	@find bot cogs -type f ! -name '*.pyc' | LC_ALL=C sort | cmp -s - $@ || \
	 find bot cogs -type f ! -name '*.pyc' | LC_ALL=C sort > $@

$(UV): requirements-installer.lock $(BIN)/pip
	$(call step,Installing the installer,rm -rf $(VENV)/installer && \
	 $(BIN)/python -m pip install --quiet --no-user --prefix= --require-hashes \
	  --target $(VENV)/installer -r requirements-installer.lock)
	@touch $@

$(BIN)/pip: $(if $(SPOILED),FORCE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	 { echo "PlexLink needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	 { echo "Python's venv is missing; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(call step,Making $(VENV)$(if $(SPOILED), anew: $(SPOILED)),rm -rf $(VENV) && $(PYTHON) -m venv $(VENV))
