# make paper: the phases and every figure of the shipped run and of its solvable neighbours. make test: every check. Both set up .venv once, by themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser

.PHONY: paper test lint types unit notebooks benchmark format clean help

help:
	@echo "make paper      measure checkpoints/mod113-seed0, print its phases, write all figures/ (some minutes on two cores)"
	@echo "make test       lint, types and tests"
	@echo "make notebooks  execute the notebooks and store their outputs with them, figures as PNG"
	@echo "make benchmark  time training, measuring, ridge regression and importing against what a user would run instead"
	@echo "make format     rewrite the code in ruff's format"
	@echo "make clean      remove .venv, figures and caches"

paper: $(READY) $(BROWSER)
	$(BIN)/python -m analyses

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings interp/reports/page

types: $(READY)
	$(BIN)/mypy

# A process a core, each of one thread.
unit: $(READY) $(BROWSER)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

notebooks: $(READY) $(BROWSER)
	OMP_NUM_THREADS=1 $(BIN)/python -m notebooks

benchmark: $(READY)
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) figures .pytest_cache .mypy_cache .ruff_cache .hypothesis

# constraints.txt pins torch: a range would fetch whatever is newest, and CI holds that version.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "interp needs Python 3.11 or newer; set PYTHON=python3.11, say")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,export,sweep]'
	touch $@

# Static figures need a Chrome or Chromium: the system's, else apt's, else kaleido's own download, else HTML only.
FIND_BROWSER := $(BIN)/python -c 'from choreographer.browsers.chromium import Chromium; \
	path = Chromium.find_browser(skip_local=False); print(path or ""); raise SystemExit(not path)'

$(BROWSER): $(READY)
	@if ! $(FIND_BROWSER) >/dev/null; then \
		echo "No Chrome or Chromium found; installing one for the PDF and PNG figures."; \
		if [ "$$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi; \
		if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
			($$root apt-get update -qq && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) \
				>$(VENV)/browser.log 2>&1 || true; \
		fi; \
		$(FIND_BROWSER) >/dev/null || $(BIN)/kaleido_get_chrome >>$(VENV)/browser.log 2>&1 || true; \
	fi
	@$(FIND_BROWSER) >/dev/null || echo "No browser could be installed (see $(VENV)/browser.log): figures are written as HTML only." \
		"Install Chrome or Chromium and delete $@ to have PDF and PNG."
	@touch $@
