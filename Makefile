# `make inspect` and `make test` are the whole set-up: each makes .venv when it is missing or older
# than the files that say what belongs in it.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/focalsst_dsvt.yaml
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: inspect test fast install lint types imports unit docs accuracy site wheel field clean

# Exit code 1 means that bevdiag found something, which is an answer and no failure of make.
inspect: $(INSTALLED)
	@$(BIN)/bevdiag inspect $(CONFIG) || { \
		code=$$?; [ $$code -eq 1 ] || exit $$code; \
		echo "make: bevdiag found problems in $(CONFIG) (its exit code is 1)."; }

test: lint types imports unit

install: $(INSTALLED)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports

unit: $(INSTALLED)
	$(BIN)/python -m pytest

# Two thousand tests in less than a minute: those that trace no step and start no process.
fast: $(INSTALLED)
	$(BIN)/python -m pytest -q -m "not slow and not gpu"

# What docs/ has from the code: rules, schemas, the command line. tests/test_docs.py holds them.
docs: $(INSTALLED)
	$(BIN)/python benchmarks/reference_pages.py

# The accuracy pages: every measured row predicted again, OpenPCDet's with its own code.
# make accuracy ROWS="a.json b.json" SOURCE=~/OpenPCDet; it takes an hour.
accuracy: $(INSTALLED)
	$(BIN)/python benchmarks/accuracy_page.py $(addprefix --rows ,$(ROWS)) \
		$(if $(SOURCE),--source $(SOURCE))

# docs/ as a site in site/, which needs no network and no server.
site: $(INSTALLED)
	$(BIN)/zensical build --clean --strict

# The wheel in a clean environment, see .ci/wheel.
wheel:
	PYTHON=$(PYTHON) .ci/wheel

# The tests of --source and every command once, on a CUDA build of PyTorch; see .ci/field.
field:
	PYTHON=$(PYTHON) .ci/field

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,cuda,dev,docs]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-cuda .mypy_cache .ruff_cache .pytest_cache .import_linter_cache site .cache
