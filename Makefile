# MAP4: everything a person types. `make` alone prints the help.
#
# It needs git, make and Python 3.11 to 3.13, no administrator's rights, and after the first set-up no network.

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
RUN_STAMP := $(VENV)/.map4-run
DEV_STAMP := $(VENV)/.map4-dev
SETUP := scripts/setup_env.py scripts/lock-build.txt pyproject.toml
DEMO := demo-library
TEST_WORKERS ?= 2
PYTEST_ARGS ?=
LIBRARY ?=
PYTHON ?=
# What `make test` leaves to `make test-all`.
RARE := slow or chaos or browser or own_postgres

# LIBRARY as it was typed: a $ or a space in a folder's name is not for make to read.
export MAP4_MAKE_LIBRARY := $(value LIBRARY)
# Without .pyc files `import dagster` takes 2.6 s instead of 0.9, in every process.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never

# GNU make answers every failing recipe with exit code 2, but map4's 1 means "done, some files could not be
# read", and scripts have to tell that from a failure. The one way to make make say 1 is to ask it whether a target is
# up to date (-q). So `make run` runs in that mode: lines that begin with $(ALWAYS), a +, are executed all the same,
# and a last line that is there only after map4's 1 makes the answer "no", exit code 1. Without the mode that line fails, exit code 2.
ALWAYS :=
ifeq ($(MAKECMDGOALS),run)
ifeq ($(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),)
ALWAYS := +
MAKEFLAGS += -q
endif
endif
RUN_STATUS := $(VENV)/.map4-run-status

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run run-map4 up test test-rare test-all check format bench lock clean

help: ## this list
	@echo 'MAP4: folders of music in, a PostgreSQL library out.'
	@echo
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make run LIBRARY=~/Music    PYTHON=python3.12 chooses the interpreter of the set-up'

# --- the environment -------------------------------------------------------------------------------------------------

# The first interpreter that is of a supported version and really runs: a version manager's shim may be in the PATH
# and only print that it is not installed.
define find_python
candidates="$(PYTHON)"; [ -n "$$candidates" ] || candidates="python3.13 python3.12 python3.11 python3 python"; found=; \
for candidate in $$candidates; do \
  if "$$candidate" -c 'import sys, ssl, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
  then found="$$candidate"; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "MAP4 needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian and Ubuntu: the package python3-venv)." >&2; \
  echo "Tried: $$candidates. Choose one with: make setup PYTHON=/path/to/python3.12" >&2; exit 1; \
fi
endef

$(RUN_STAMP): requirements.lock $(SETUP)
	$(ALWAYS)@$(find_python); "$$found" scripts/setup_env.py --stamp $(RUN_STAMP)

$(DEV_STAMP): requirements-dev.lock $(SETUP) | $(RUN_STAMP)
	@$(find_python); "$$found" scripts/setup_env.py --dev --stamp $(DEV_STAMP)

setup: $(RUN_STAMP) ## make the environment in .venv (the other targets do it when needed)

setup-dev: $(DEV_STAMP)

# --- the two commands ------------------------------------------------------------------------------------------------

run: run-map4 ## analyse the folder LIBRARY, or a small demo library without it
	$(if $(filter 1,$(shell cat $(RUN_STATUS) 2>/dev/null)),@exit 1)

run-map4: $(RUN_STAMP)
	$(ALWAYS)@rm -f $(RUN_STATUS); library="$$MAP4_MAKE_LIBRARY"; new=; \
	case "$$library" in \
	  '') library=$(DEMO); new=--new-library; \
	    if [ ! -d $(DEMO) ]; then \
	      echo "No LIBRARY given: making a small demo library in ./$(DEMO)"; \
	      rm -rf $(VENV)/demo.part; $(PY) -m map4_pipeline.library.demo $(VENV)/demo.part && mv $(VENV)/demo.part $(DEMO) || exit 3; \
	    fi ;; \
	  '~') library="$$HOME" ;; \
	  '~/'*) library="$$HOME/$${library#??}" ;; \
	esac; \
	status=0; env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(BIN)/map4 ingest $$new -- "$$library" || status=$$?; \
	case $$status in \
	  0) ;; \
	  1) echo "Exit code 1: some files could not be analysed (listed above); everything else is in the library." ;; \
	  2) echo "Exit code 2: map4 could not be used like this." ;; \
	  3) echo "Exit code 3: the infrastructure failed, or a guard stopped the run." ;; \
	  *) echo "Exit code $$status." ;; \
	esac; \
	echo $$status > $(RUN_STATUS); [ $$status -le 1 ] || exit $$status

test: $(DEV_STAMP) ## run the tests (under 10 minutes)
	$(PY) -m pytest -n $(TEST_WORKERS) --dist loadgroup -m "not ($(RARE))" $(PYTEST_ARGS)

# --- the rest --------------------------------------------------------------------------------------------------------

up: $(RUN_STAMP) ## start the Dagster UI and its daemon
	@$(BIN)/map4 up

test-rare: $(DEV_STAMP)
	$(PY) -m pytest -m "$(RARE)" $(PYTEST_ARGS)

test-all: test ## the tests, then the slow, chaos, browser and own-PostgreSQL ones
	@$(MAKE) --no-print-directory test-rare

check: $(DEV_STAMP) ## ruff, ruff format, mypy, import-linter
	@failed=; for tool in "ruff check ." "ruff format --check ." "mypy" "lint-imports"; do \
	  echo "--- $$tool"; $(BIN)/$$tool || failed="$$failed [$$tool]"; \
	done; [ -z "$$failed" ] || { echo "Not clean:$$failed"; exit 1; }

format: $(DEV_STAMP) ## let ruff format and repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_STAMP) ## measure accuracy, speed and memory
	$(PY) -m benchmarks

UV_LOCK := $(PY) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras --quiet
lock: $(DEV_STAMP) ## resolve the lock files anew (needs the network)
	$(UV_LOCK) pyproject.toml --extra cache --extra ai --extra acoustid --output-file requirements.lock $(LOCK_ARGS)
	$(UV_LOCK) pyproject.toml --extra cache --extra ai --extra acoustid --group dev --constraints requirements.lock \
	  --output-file requirements-dev.lock $(LOCK_ARGS)
	echo 'setuptools>=77' | $(UV_LOCK) - --output-file scripts/lock-build.txt $(LOCK_ARGS)
	echo 'uv' | $(UV_LOCK) - --output-file scripts/lock-uv.txt $(LOCK_ARGS)

clean: ## remove the environment, caches and reports of tests; never a library
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage coverage.xml htmlcov build dist *.egg-info
	find map4_pipeline map4_pipeline_tests benchmarks sql scripts -name __pycache__ -type d -prune -exec rm -rf {} +
