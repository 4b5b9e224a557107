# Two commands on a fresh machine with Python 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread: small tensors gain nothing from two, and lose much where other work runs.
export OMP_NUM_THREADS := 1

.PHONY: demo test lint clean
demo: $(VENV)/demo
	$(BIN)/layersmith check examples/tutorial.py || test $$? -eq 1  # 1: it found what is wrong, as it should
	$(BIN)/layersmith train examples/tutorial.py::CustomModel
	$(BIN)/layersmith train examples/mended.py

test: $(VENV)/dev
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# --without-pip and pip --python: Debian's python3 has no ensurepip unless python3-venv is installed.
$(VENV)/python:
	$(PYTHON) -m venv --without-pip $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml constraints.txt
	$(PYTHON) -m pip --python $(BIN)/python install -q -c constraints.txt -e .
	touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml constraints.txt
	$(PYTHON) -m pip --python $(BIN)/python install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/demo

clean:
	rm -rf $(VENV) build dist
