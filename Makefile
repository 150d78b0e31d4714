# Targets only: the work is in the Snakefile. `make help` lists them.
# PROFILE=smoke builds the small test version; JOBS=n limits parallel chapters; GATE=warn goes on when a verdict
# differs from the published one; TIMEOUT=s is the longest a chapter may run; PYTHON=... names another Python;
# CLUSTER=cluster lets SLURM, or another executor of Snakemake that a profile names, run the chapters.

PYTHON  ?= python3
PROFILE ?= published
JOBS    ?= all
GATE    ?= stop
TIMEOUT ?= 900
PLAN    ?= sweep.yml
CLUSTER ?=
N       ?= 20
VENV    := .venv/bin
COMPANION = $(VENV)/python -m companion make --profile $(PROFILE) --jobs $(JOBS) --timeout $(TIMEOUT) --cluster '$(CLUSTER)'
MAKE_IT  = @$(COMPANION) --gate $(GATE) --plan $(PLAN)
TEST     = @$(VENV)/python -m pytest -n $(if $(filter all,$(JOBS)),auto,$(JOBS)) --dist worksteal

.PHONY: help venv book smoke test test-all lint lab bench grids federation sweep replicate zip wheel pdf reproduce clean distclean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z/%-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'
	@sed -n '2,4s/^# //p' Makefile

venv: ## .venv with the pinned packages; every other target makes it first
	@$(PYTHON) .ci/venv

book: venv ## execute the chapters, check their verdicts, build _build/html
	$(MAKE_IT) html

smoke: venv ## the same in small, for tests: _build/smoke/html
	@$(MAKE) --no-print-directory book PROFILE=smoke

chapters/%: venv ## one chapter by name, as in make chapters/the_rules
	$(MAKE_IT) '{out}/executed/$(patsubst %.md,%,$*).json'

test: lint ## style, then the everyday tests: nothing slow, no browser
	$(TEST) -m 'not site and not slow' $(ARGS)

test-all: lint smoke ## style, a smoke build, then the slow tests too: every chapter, broken books, processes; no browser
	$(TEST) -m 'not site' $(ARGS)

lint: venv ## style of the code and of the chapters' cells, imports between the packages; ARGS=--fix formats
	@$(VENV)/python .ci/lint $(filter --fix,$(ARGS))

bench: venv ## the library against its peers; packages that only they need go into .venv-bench
	@$(PYTHON) .ci/venv bench
	@.venv-bench/bin/python benchmarks $(ARGS)

grids: venv ## recorded grids and what each costs; GRID=name or GRID=all computes the cells that a file lacks
	@$(VENV)/python -m companion.experiments.archive $(GRID)

federation: ## a server and four hospitals, as real processes on this machine, against the simulation; ARGS=--tls encrypts
	@$(PYTHON) .ci/venv federated
	@.venv-federated/bin/python -m companion.experiments.federated_learning.deployment federation --rounds 4 $(ARGS)

sweep: venv ## chapter x parameter grid x seeds, as in PLAN=sweep.yml: one table, one picture
	$(MAKE_IT) sweep

replicate: venv ## the book under N further seeds: how often each verdict comes out, in chapters/replication.json
	@$(COMPANION) --replications $(N) replicate

reproduce: venv ## two builds, with 1 and 2 chapters at a time, must give equal verdicts and numbers
	@$(VENV)/python -m companion make --profile $(PROFILE) --jobs 1 --out _build/reproduce/one executed
	@$(VENV)/python -m companion make --profile $(PROFILE) --jobs 2 --out _build/reproduce/two executed
	@$(VENV)/python -m companion compare _build/reproduce/one/executed _build/reproduce/two/executed

lab: venv ## JupyterLab; a double click opens a chapter as a notebook; ARGS are its own
	@$(VENV)/jupytext-config --settings-file _build/lab/labconfig/default_setting_overrides.json set-default-viewer markdown myst
	@JUPYTER_CONFIG_DIR=_build/lab $(VENV)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) chapters $(ARGS)

zip: venv ## the site as one archive
	$(MAKE_IT) zip

wheel: venv ## the package in dist: its source distribution and, made of that, its wheel
	@rm -rf build dist
	@$(VENV)/python -c "import setuptools.build_meta as backend; backend.build_sdist('dist')" >/dev/null
	@$(VENV)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation -w dist dist/*.tar.gz
	@ls dist/*

pdf: venv ## the whole book as one PDF, printed by an installed Chromium
	$(MAKE_IT) pdf

clean: ## remove everything that was built, keep .venv
	@rm -rf _build build dist .snakemake .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	@find lib tests benchmarks chapters -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	@rm -rf .venv .venv-bench .venv-federated .venv*.lock
