# The two commands that matter: `make demo` and `make test`. Both make what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
AIRFLOW ?= 3.3.2
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
READY := $(VENV)/.ready-$(AIRFLOW)
GROUPS ?= test lint docs build
# More for pytest, where a target takes it.
PYTEST ?=
# Processes that share the tests.
JOBS ?= 2
# Each Airflow with another Python, where that is installed, and with $(PYTHON) elsewhere; 2.11 goes up to 3.12.
MATRIX := 2.11.2=python3.12 3.1.8=python3.13 3.3.2=python3.11

.PHONY: help demo test lint types unit unit-only test-matrix docs wheel system system-distributed bench soak \
	mutation clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# Groups of dependencies need pip 25.1; the constraints file pins everything, pip included.
# The package's version is in its __init__.py. All Airflows share $(VENV), so only the last one is ready.
$(READY): pyproject.toml airflow_provider_cohere_datasets/__init__.py $(CONSTRAINTS)
	rm -f $(VENV)/.ready-*
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) pip
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) "apache-airflow==$(AIRFLOW)" \
		$(GROUPS:%=--group %) -e ".[emulator]"
	touch $@

demo: $(READY) ## Run the main job on the emulator in a real Airflow and show the Parquet
	$(BIN)/python -m tests.system.demo

test: lint types unit docs wheel ## Everything that CI checks by default

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m tests.coverage -n $(JOBS) --dist worksteal

unit-only: $(READY)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-matrix: ## Tests on Airflow 2.11, 3.1 and 3.3, each in an environment of its own
	@MAKE="$(MAKE)" $(PYTHON) -m tests.matrix $(MATRIX)

docs: $(READY) ## Build the documentation into docs/_build
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

wheel: $(READY) ## Build the wheel, check it, and use it in a bare environment
	$(BIN)/python -m tests.packaging.check_wheel

system: $(READY) ## Tests in a real Airflow with scheduler, triggerer and API server
	$(BIN)/python -m pytest -m system $(PYTEST) tests/system --ignore tests/system/test_distributed.py

# It starts Debian's redis-server and postgresql by itself; they only have to be installed.
system-distributed: $(READY) ## Tests on two Celery workers with Redis, PostgreSQL and a lake in S3
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) --group distributed
	$(BIN)/python -m pytest -m system $(PYTEST) tests/system/test_distributed.py

bench: $(READY) ## All benchmarks, ours beside what users would use instead; writes the table of the documentation
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) --group bench
	$(BIN)/python -m benchmarks

soak: $(READY) ## Hundreds of exports and waits on a server of which every fourth answer is broken
	$(BIN)/python -m tests.soak

# On a copy, because mutmut writes beside what it changes.
mutation: $(READY) ## Change core/ thousands of times, and show the changes that its tests do not notice
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) "mutmut>=3.8,<4"
	rm -rf build/mutation
	mkdir -p build/mutation
	cp -r airflow_provider_cohere_datasets tests pyproject.toml README.md build/mutation
	cd build/mutation && $(abspath $(BIN))/mutmut run && $(abspath $(BIN))/mutmut results

clean: ## Remove everything that the other commands made
	rm -rf $(VENV) .venv-* .demo build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
