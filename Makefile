# What can be done here. `make` alone lists it; every target first installs what it needs (tools/bootstrap.py).

PORT     ?= 25080
TLS_PORT ?= 25443
DIR      ?= ./var
DAEMON   ?= on
DB       ?= sqlite
DB_URL   ?=
N        ?= 20
PILOT    ?= builtin
JOBS     ?= 2

WITH      := python3 tools/bootstrap.py
DB_NEED   := $(if $(DB_URL),$(if $(findstring mysql,$(DB_URL))$(findstring mariadb,$(DB_URL)),mariadb,$(if $(findstring postgres,$(DB_URL)),postgresql,sqlite)),$(DB))
INSTANCE  := --port $(PORT) --tls-port $(TLS_PORT) --dir $(DIR) --daemon $(DAEMON) --db $(DB) $(if $(DB_URL),--db-url '$(DB_URL)')
PYTEST    := python tools/adopt.py python -m pytest
SUITES    := tests/unit tests/api tests/db tests/model tests/docs tests/malice
PROCESSES := tests/e2e tests/chaos

.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-long bench check format docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## a complete instance in the foreground (PORT, TLS_PORT, DIR, DAEMON=on|off, DB=sqlite|postgresql|mariadb, DB_URL)
	@$(WITH) run,$(DB_NEED) python -m pandaserver.testing.run $(INSTANCE)

demo: ## jobs from submission to finished on such an instance (N=20, PILOT=builtin|stock, and what run takes)
	@$(WITH) run,demo,$(PILOT),$(DB_NEED) python -m pandaserver.testing.demo $(INSTANCE) --jobs $(N) --pilot $(PILOT)

test: check ## every test on every backend, with real servers
	@$(WITH) run,demo,stock,postgresql,mariadb,develop $(PYTEST) -n $(JOBS) -m "not long" $(SUITES)
	@$(WITH) run,demo,stock,postgresql,mariadb,develop $(PYTEST) -m "not long" $(PROCESSES)

test-fast: ## unit, api, model, docs, and db on SQLite
	@PANDA_TEST_BACKENDS=sqlite $(WITH) develop $(PYTEST) -n $(JOBS) -m "not slow and not long" $(SUITES)

test-long: ## the tests that take minutes
	@$(WITH) run,demo,stock,postgresql,mariadb,develop $(PYTEST) -m long

bench: ## benchmarks, as ratios against the limits of this machine
	@$(WITH) run,bench,postgresql,mariadb,develop python -m bench

check: ## format, lint, types, floors, generated files
	@$(WITH) develop ruff format --check .
	@$(WITH) develop ruff check .
	@$(WITH) develop mypy
	@$(WITH) develop lint-imports
	@$(WITH) develop python docs/generate.py --check

format: ## settle the format
	@$(WITH) develop ruff format .
	@$(WITH) develop ruff check --fix .

docs: ## regenerate what is generated: settings, states, schema, requests, openapi.json
	@$(WITH) develop python docs/generate.py

clean: ## remove the instance and the caches; the environment stays
	@if [ -e '$(DIR)/instance.lock' ] && ! flock --nonblock '$(DIR)/instance.lock' true; then \
	    echo 'the instance in $(DIR) is running: stop it first'; exit 1; fi
	@rm -rf '$(DIR)' .pytest_cache .mypy_cache .ruff_cache .hypothesis
