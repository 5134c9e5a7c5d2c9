# make demo   set everything up and run the main job      (ARGS="--once" ends when the loop has closed)
# make test   set everything up and pass the tests        (ARGS="-k queue" runs some)
# make setup  only the environment, in .venv
# make check  format, lint, types, import direction
# make bench  each benchmark in its quick form, figures in build/bench

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test setup check format bench clean

demo: setup
	$(BIN)/closedloop demo $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

setup: .venv/.ready

# uv resolves and links the locked set in about a minute; it comes from the lock file itself.
.venv/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "closedloop needs Python 3.11: make setup PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/run_all.py --quick --out build/bench $(ARGS)

clean:
	rm -rf .venv build dist .closedloop .pytest_cache .mypy_cache .ruff_cache .hypothesis
