PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
CLAIMS := listing reading remote survey nmf page training change trajectory recording pictures clusterability tuning normalization
FUZZ_SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help atlas test fuzz sweep lint format bench docs clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "Python's venv module is missing: install it (Debian: python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

atlas: $(READY) ## Train the demo's networks and draw their atlas: atlas.html
	$(BIN)/weightatlas demo --output atlas.html

test: $(READY) ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup  # a thread each: two pools on few cores wait for each other

fuzz: $(READY) ## Open 100,000 files that lie, of every format; FUZZ_SEED=N for others
	$(BIN)/python -m tests.fuzz --examples 10000 --seed $(FUZZ_SEED)

sweep: $(READY) ## Convert the networks of torchvision and timm, and refresh the table in docs/conversion.md
	$(BIN)/python -m tests.sweep

lint: $(READY) ## Check style, types and the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## Measure every claim about speed beside a peer or a physical limit
	@set -e; for claim in $(CLAIMS); do echo "== $$claim"; $(BIN)/python benchmarks/$$claim.py; done

docs: $(READY) ## Build the documentation into docs/_build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build

clean: ## Remove what the other commands made
	rm -rf $(VENV) docs/_build atlas atlas.html
