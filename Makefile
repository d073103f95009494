# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Where the default index offers torch with CUDA only: make quickstart TORCH_INDEX=<PyTorch's CPU index>
TORCH_INDEX ?=
PIP    := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet \
          $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# That many share the tests, each with a core and 2 GB of its own.
TEST_PROCESSES ?= 2
PYTEST         := $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal

# What `make bench` needs and this repository does not hold (see CONTRIBUTING.md): texts, a classifier that
# was fine-tuned on SST-2, and a directory to work in.
BENCH_DATA    ?= ../shared/data
BENCH_TEACHER ?= ../shared/weights/sst2-teacher
BENCH_WORK    ?= ../bench-work

.PHONY: quickstart test coverage search install lint types format tutorial performance commands docs bench drill image clean help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

quickstart: $(VENV)/.installed  ## the main job on real text, five to seven minutes
	$(BIN)/fastbert-jobs quickstart

test: $(VENV)/.installed-dev lint types  ## everything that CI runs
	$(PYTEST)

coverage: $(VENV)/.installed-dev  ## the tests again, and which lines they reach, which takes 1.6 times as long
	$(PYTEST) --cov --cov-report=term

search: $(VENV)/.installed-dev  ## the tests of properties on random examples, 500 each, some minutes
	$(PYTEST) -m hypothesis --hypothesis-profile search

install: $(VENV)/.installed  ## a virtual environment with the pinned versions

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tutorial: $(VENV)/.installed  ## run the quickstart and put its output into docs/tutorial.md and docs/images/audit.png, five to seven minutes
	$(BIN)/python -m tools.tutorial

performance: $(VENV)/.installed  ## make the tables of README.md and docs/ from benchmarks/*.parquet
	$(BIN)/python -m tools.performance

commands: $(VENV)/.installed  ## write docs/commands.md from the command line itself
	$(BIN)/python -m tools.commands

docs: tutorial performance commands  ## everything in the documents that is not written by hand

bench: $(VENV)/.installed-bench  ## our speed against every other system's, about an hour; needs BENCH_DATA and BENCH_TEACHER
	test -d $(BENCH_WORK)/fastbert || $(BIN)/python -m benchmarks.early_exit.run --data $(BENCH_DATA) \
		--teacher $(BENCH_TEACHER) --work $(BENCH_WORK) --only 'SST-2 dev' \
		--output $(BENCH_WORK)/early_exit.parquet
	test -d $(BENCH_WORK)/student-3 || $(BIN)/python -m benchmarks.rivals.students --teacher $(BENCH_TEACHER) \
		--labels $(BENCH_WORK)/labels --output $(BENCH_WORK) --layers 6 3
	$(BIN)/python -m benchmarks.speed.run --data $(BENCH_DATA) --teacher $(BENCH_TEACHER) \
		--model $(BENCH_WORK)/fastbert --students $(BENCH_WORK)
	$(BIN)/python -m tools.performance

drill: $(VENV)/.installed-dev  ## kills, full disks, damaged and hostile files, 2,000,000 rows: about an hour
	$(BIN)/python -m drills

image:  ## run the steps of containers/Dockerfile in clean virtual environments, minutes
	$(PYTHON) -m tools.image_steps

clean:  ## remove the virtual environment and what the tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[bench]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@
