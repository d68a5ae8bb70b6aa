# `make` lists the targets. Needs git, make and Python 3.11 or newer; the rest sets itself up.
#   PYTHON=...    the interpreter that makes the environment (default: the first that is new enough)
#   VENV=...      where the environment lies (default: .venv)
#   PIP_ARGS=...  more arguments for pip, e.g. an index of your own
#   ARGS=...      arguments for the program behind a target, e.g. ARGS=hpcr
.DEFAULT_GOAL := help
.PHONY: help demo test test-hard lab lint figures tables handout site clean
.SUFFIXES:

VENV ?= .venv
PYTHON ?=
PIP_ARGS ?=
ARGS ?=
BIN = $(VENV)/bin
READY = $(VENV)/.ready

# What another project left in the shell must not reach into this environment.
unexport PYTHONHOME JUPYTER_PATH
export PYTHONPATH = $(CURDIR)
# A user's own kernel named python3 would come before the environment's.
export JUPYTER_PREFER_ENV_PATH = 1

help: ## list the targets
	@echo "usage: make TARGET [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' Makefile

demo: $(READY) ## run every notebook on embedded data, then print what the papers claim, with verdicts
	@"$(BIN)/python" -m relcl_lib demo $(ARGS)

# One process per core that may be used here (a container may have fewer than its host), one thread
# each: more would wait for one another. ARGS come last and win.
test: export OMP_NUM_THREADS = 1
test: export OMP_WAIT_POLICY = PASSIVE
test: $(READY) ## run the tests and the notebook checks, on every core
	@"$(BIN)/python" -m pytest --numprocesses=$$("$(BIN)/python" -c 'import joblib; print(joblib.cpu_count())') --dist=worksteal $(ARGS)

test-hard: export OMP_NUM_THREADS = 1
test-hard: export RELCL_HARD = 1
test-hard: $(READY) ## kills, damaged files, clusters, bad lines and long runs, whole: about an hour
	@"$(BIN)/python" -m pytest tests/hard $(ARGS)

lab: $(READY) ## open JupyterLab in notebooks/
	@"$(BIN)/python" -m jupyter lab --LabApp.default_url=/lab/tree/notebooks --LabApp.news_url=None $(ARGS)

lint: $(READY) ## check style and format of code, tests and notebooks
	@"$(BIN)/python" -m ruff check relcl_lib tests notebooks docs
	@"$(BIN)/python" -m ruff format --check relcl_lib tests notebooks docs

figures: $(READY) ## draw figures/ again from the committed records
	@"$(BIN)/python" -m relcl_lib figures $(ARGS)

tables: $(READY) ## print every comparison with the papers and fill the tables of README.md and RESULTS.md
	@"$(BIN)/python" -m relcl_lib tables
	@"$(BIN)/python" -m relcl_lib tables --update README.md RESULTS.md

handout: $(READY) ## write the notebooks without their solutions to runs/handout/
	@rm -rf runs/handout && mkdir -p runs/handout
	@for notebook in notebooks/*.ipynb; do \
	  [ -e "$$notebook" ] || { echo "there are no notebooks"; exit 0; }; \
	  "$(BIN)/python" -m nbstripout --textconv --keep-output --keep-count \
	    --drop-tagged-cells solution "$$notebook" > "runs/handout/$${notebook##*/}" || exit 1; \
	  echo "runs/handout/$${notebook##*/}"; \
	done

# Every page is written again; what was read of a source that stayed is kept beside it.
site: $(VENV)/.site ## write the lessons, the results and the reference as pages to runs/site/
	@rm -rf runs/site && mkdir -p runs/site_source
	@"$(BIN)/python" -m sphinx -W --keep-going -q -c docs -d runs/site_doctrees $(ARGS) \
	  runs/site_source runs/site
	@echo "runs/site/index.html"

clean: ## remove the environment, the runs and every cache; data and records stay
	@if [ -e "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf runs build dist relcl.egg-info .pytest_cache .ruff_cache .hypothesis
	find relcl_lib tests notebooks docs -name __pycache__ -prune -exec rm -rf {} +
	find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +

$(VENV)/.site: docs/requirements.txt $(READY)
	@echo "installing docs/requirements.txt into $(VENV)"
	@"$(BIN)/python" -m pip install -qq --disable-pip-version-check --root-user-action=ignore $(PIP_ARGS) \
	  -c requirements.txt -r docs/requirements.txt
	@touch "$@"

# The stamp is written last, so an interrupted install is taken up again; pip keeps what it has.
$(READY): requirements.txt
	@set -e; \
	if ! "$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || ! "$(BIN)/python" -m pip --version >/dev/null 2>&1; then \
	  found=; \
	  for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14 python); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "relcl needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is not one,found none)." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	  fi; \
	  if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "$$found lacks the modules venv and ensurepip. On Debian and Ubuntu:" >&2; \
	    echo "  sudo apt install $$("$$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; \
	  fi; \
	  if [ -n "$$(ls -A "$(VENV)" 2>/dev/null)" ] && [ ! -e "$(VENV)/pyvenv.cfg" ]; then \
	    echo "$(VENV) holds something that is no virtual environment; name another folder by VENV=..." >&2; exit 1; \
	  fi; \
	  echo "making the environment $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear "$(VENV)"; \
	fi; \
	echo "installing requirements.txt into $(VENV) (once; minutes on a slow line)"; \
	"$(BIN)/python" -m pip install -qq --disable-pip-version-check --root-user-action=ignore $(PIP_ARGS) -r requirements.txt; \
	: 'For editors that start kernels on their own:'; \
	"$(BIN)/python" -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "relcl.pth").write_text(sys.argv[1] + "\n")' "$(CURDIR)"; \
	touch "$@"
