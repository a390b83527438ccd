# make demo: install and run the main job on embedded data.  make test: install, lint, types, tests.
# make experiments-miniature: the paper's experiments on tiny copies of VOC, COCO and HOPE.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check experiments-miniature clean

demo: $(VENV)/installed
	$(BIN)/dealseg demo --out runs/demo

test: $(VENV)/installed-dev check

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

experiments-miniature: $(VENV)/installed-dev
	for each in voc coco hope; do \
	  $(BIN)/dealseg experiment $$each --miniature --out runs/miniature/$$each || exit 1; done

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) runs
