# Everything a developer does. `make` alone lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run viewer samples test test-viewer corpus check format azurite func clean

BIN := .venv/bin
IS_313 := import sys; sys.exit(sys.version_info[:2] != (3, 13))
SOURCES := shared local admin infra tests $(wildcard function_app.py) $(wildcard benchmarks)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: .venv/.installed node_modules/.installed ## Install what is missing into .venv and node_modules

run: setup ## Run the service with Azurite at http://localhost:7071; PORT=, DATA_DIR= and AZURITE_*_PORT= change where
	@exec $(BIN)/python -m local --with-parent

viewer: setup ## As run, with the OHIF viewer at http://localhost:7071; fetches it on first use (50 MB)
	@exec $(BIN)/python -m local --with-parent --viewer

samples: setup ## Write the README's three example files to samples/
	@$(BIN)/python -m tests.samples samples

test: setup ## Run all tests, a file on each core; ARGS= goes to pytest
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test-viewer: setup ## Test the viewer in Chromium, which must be installed; SCREENSHOTS= is a folder for pictures
	@$(BIN)/python -m pytest tests/clients/viewer.py $(ARGS)

corpus: setup ## Store every .dcm file below DIR= and compare what comes back with what pydicom reads
	@test -d "$(DIR)" || { echo "Say which folder: make corpus DIR=path/to/files" >&2; exit 1; }
	@$(BIN)/python -m tests.corpus "$(DIR)"

check: setup ## Check format, lint, types, layers and the templates of the deployment
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy --strict shared $(wildcard function_app.py) local admin
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.infra

format: setup ## Format the code and mend what the linter can
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

azurite: setup ## Run only Azurite, as `make func` needs it
	@exec node node_modules/azurite/dist/src/azurite.js --silent --disableTelemetry --skipApiVersionCheck \
		--location "$${DATA_DIR:-.azurite}" --blobHost 127.0.0.1 --blobPort $${AZURITE_BLOB_PORT:-10000} \
		--queueHost 127.0.0.1 --queuePort $${AZURITE_QUEUE_PORT:-10001} --tableHost 127.0.0.1 --tablePort $${AZURITE_TABLE_PORT:-10002}

func: setup ## Run the service with Azure Functions Core Tools instead; needs `make azurite` beside it
	@command -v func >/dev/null || { echo "Azure Functions Core Tools are not installed; \`make run\` does without them." >&2; exit 1; }
	@test -e local.settings.json || cp local.settings.example.json local.settings.json
	@source $(BIN)/activate && exec func start

clean: ## Remove what setup installed, the viewer and all caches, but not the data
	@rm -rf .venv node_modules .viewer .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A command of the right name may still be another version, or a shim that only complains: each is tried.
.venv/.installed: requirements.txt requirements-dev.txt
	@python=; for name in $(PYTHON) python3.13 python3 python; do \
		if "$$name" -c '$(IS_313)' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.13 is needed, but neither python3.13 nor python3 is that version; set PYTHON to it." >&2; exit 1; fi; \
	if ! $(BIN)/python -c '$(IS_313)' >/dev/null 2>&1; then "$$python" -m venv --clear .venv; fi
	@echo "Installing the Python packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -r requirements-dev.txt
	@touch $@

node_modules/.installed: package.json package-lock.json
	@command -v npm >/dev/null && node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))' \
		|| { echo "Node.js 20 or later, with npm, is needed for Azurite and for the tests of clients." >&2; exit 1; }
	@echo "Installing Azurite, and the JavaScript clients of the tests, into node_modules"
	@npm ci --silent --no-audit --no-fund --no-update-notifier
	@touch $@
