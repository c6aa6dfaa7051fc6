# `make` prints what there is. Needs Python 3.11 or later and nothing else; everything else goes into .venv.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.docs-installed

.DEFAULT_GOAL := help
.PHONY: help demo up test coverage check format docs build bench bench-peers bench-http clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## make one report from start to PDF and show its progress
	@$(BIN)/arqway demo

up: $(INSTALLED) ## run the server, the API and a worker until Ctrl-C
	@$(BIN)/arqway up

test: $(INSTALLED) ## run the tests; make test ARGS="-k cancel" runs some
	@$(BIN)/pytest -n auto $(ARGS)

coverage: $(INSTALLED) ## run the tests, and say how much of the code they run and which lines they do not
	@$(BIN)/pytest -n auto --cov $(ARGS)

check: $(INSTALLED) ## check format, lint, types, the import rules, and the files that other programs read
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/pre-commit validate-config

format: $(INSTALLED) ## format the code, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DOCS_INSTALLED) ## build the documentation, with an API reference, as a site in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "The documentation is in site/index.html"

build: $(INSTALLED) ## build the wheel and the source archive into dist/
	@$(BIN)/python -m build

bench: $(INSTALLED) ## measure the speed beside stock arq; make bench ARGS=--quick takes a look
	@$(BIN)/python -m benchmarks run $(ARGS)

bench-peers: $(INSTALLED) ## the same beside other libraries, each installed into an environment of its own
	@$(BIN)/python -m benchmarks peers $(ARGS)

bench-http: $(INSTALLED) ## measure the service over HTTP beside FastAPI alone, with Celery, arq and SAQ; needs wrk
	@$(BIN)/python -m benchmarks.http run $(ARGS)

clean: ## remove what was built and installed; data in .arqway stays
	rm -rf .venv build dist site .coverage .coverage.* htmlcov *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Arqway needs Python 3.11 or later; $(PYTHON) is not: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[embedded,reload,report,dev]' -c constraints.txt
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@echo "Installing what builds the documentation into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	@touch $@
