# Every target works alone on a machine with Python 3.11 or newer, make and git: .venv is made when missing.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: repro test check format ui lock bench-faults bench-data bench-objectives bench-released bench-logit-scale \
	bench-training bench-statistics bench-evaluation bench-sweep

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export UV_COMPILE_BYTECODE := 1
# The machine's certificates, to which a company may have added its own.
export UV_SYSTEM_CERTS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
READY := $(VENV)/.ready
# Two processes: many tests wait, for a server, a child or a lock.
PYTEST := pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

repro: $(READY)  ## run the active study (params.yaml) and write its report
	rankclip repro

test: $(READY)
	$(PYTEST)

check: $(READY)
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	$(PYTEST)

format: $(READY)
	ruff format .
	ruff check --fix .

bench-faults: $(READY)  ## kill -9 in every stage at several moments, about an hour and a half
	python -m bench.faults
	python -m bench.data_faults
	python -m bench.train_faults
	python -m bench.sweep_faults

bench-data: $(READY)  ## ingest, download, index and loading against their peers, about half an hour
	python -m bench.data

bench-objectives: $(READY)  ## time and memory of the losses, on a machine that does nothing else
	python -m bench.objectives

bench-released: $(READY)  ## what the released numerics do to the gradient, half a minute
	python -m bench.released

bench-logit-scale: $(READY)  ## what the terms do to the logit scale, from the runs of shapes-controls
	python -m bench.logit_scale

bench-training: $(READY)  ## a run beside open_clip's trainer, Ray, MLflow, two workers; about half an hour
	python -m bench.training

bench-statistics: $(READY)  ## how often the report claims what is not there, and finds what is; a minute
	python -m bench.statistics

bench-evaluation: $(READY)  ## beside CLIP_benchmark, which must be installed, on a machine that does nothing else
	uv pip install --quiet --no-deps clip-benchmark==1.6.2
	python -m bench.evaluation

bench-sweep: $(READY)  ## a sweep that stops early beside the full grid, about an hour; goes on where it was
	python -m bench.sweep

ui: $(READY)  ## MLflow on http://127.0.0.1:5000
	rankclip ui

lock: $(READY)  ## resolve again after a change of pyproject.toml
	uv pip compile --universal --python-version 3.11 --extra pipeline --extra dev pyproject.toml \
		--upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

$(READY): requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv==0.13.9
	uv pip install --quiet --python $(VENV)/bin/python -r requirements.lock
	uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	touch $@
