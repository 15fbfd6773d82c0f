# Two commands matter: `make demo` shows what vsr does, `make test` shows that it does it.
# Needed beforehand: make, and Python 3.11 or later with its venv module. Nothing else, no FFmpeg, no GPU.
#
#   PYTHON=python3.12     the interpreter to build the environment from
#   VENV=.venv            where the environment goes
#   TORCH_INDEX=URL       an extra package index to take torch from (the small CPU builds, another CUDA version)
#   PYTEST_ARGS=...       passed on to pytest

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
PYTEST_ARGS ?=

python := $(VENV)/bin/python
pip_install := $(python) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint clean

help:
	@echo "make demo      install into $(VENV) and upscale the sample film"
	@echo "make test      install into $(VENV), then lint and run the fast tests"
	@echo "make test-all  the same with the slow tests and the benchmarks"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove $(VENV), caches and the demo's film"

# Stamps, so that a second `make` installs nothing. `python -m venv` on a venv that is already there is harmless.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("vsr needs Python 3.11 or later, this is " + sys.version.split()[0] + ". hint: make PYTHON=python3.12 ...")'
	@echo "installing into $(VENV) (torch is large: minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(pip_install) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the tools of the tests into $(VENV)"
	@$(pip_install) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@$(VENV)/bin/vsr upscale samples/clip.mp4 --scale 4 -o samples/clip_x4.mp4 --overwrite
	@echo "before: samples/clip.mp4"
	@echo "after:  $(CURDIR)/samples/clip_x4.mp4"

lint: $(VENV)/.installed-dev
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

test: lint
	@$(python) -m pytest -m "not slow and not bench" $(PYTEST_ARGS)

test-all: lint
	@$(python) -m pytest $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache samples/clip_x4.mp4
	find vsr tests samples -name __pycache__ -type d -prune -exec rm -rf {} +
