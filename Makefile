# A newcomer needs two: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
STUDIO := .venv-label-studio
BIN := $(VENV)/bin
export UV_COMPILE_BYTECODE := 1
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120

.PHONY: help setup demo test test-label-studio lint types lock lock-label-studio clean browser

help:
	@echo "make demo   set up, turn the wheel three times on simulated cloth, write demo/workspace/report.html"
	@echo "make test   set up and run the tests"
	@echo "make lint   ruff and mypy"
	@echo "make lock   pin requirements.in in requirements.txt"
	@echo "make test-label-studio  install Label Studio (1 GB) into an environment of its own and run the tests that need it"

setup: $(VENV)/ready

# uv itself is the only thing that pip installs; it goes into a place of its own, since `uv pip sync` removes strangers
$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(VENV)/uv/bin/uv || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install -q uv; }
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip sync -q requirements.txt
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip install -q --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/flywheel demo --out demo

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else echo "chromium is not installed: the browser tests will be skipped"; fi

# files side by side, one thread each, in the order of the folders, so that the long ones begin early
test: setup browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Its requirements do not agree with ours, hence the environment of its own.
$(STUDIO)/ready: infra/requirements-label-studio.txt | setup
	test -x $(STUDIO)/bin/python || $(PYTHON) -m venv --without-pip $(STUDIO)
	VIRTUAL_ENV=$(STUDIO) $(VENV)/uv/bin/uv pip sync -q infra/requirements-label-studio.txt
	touch $@

test-label-studio: setup $(STUDIO)/ready
	$(BIN)/python -m pytest tests/services/test_label_studio.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

lock:
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip compile requirements.in -c requirements.txt --universal --python-version 3.11 \
	  --no-annotate --no-header -o requirements.txt

lock-label-studio:
	$(VENV)/uv/bin/uv pip compile infra/requirements-label-studio.in --universal --python-version 3.11 \
	  --no-annotate --no-header -o infra/requirements-label-studio.txt

clean:
	rm -rf $(VENV) $(STUDIO) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache
