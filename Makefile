# Two commands matter: `make demo` and `make test`. Each sets up what it needs; nothing is installed outside this folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
SAM_VENV := .venv-sam
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready
SIZE ?= full
MIRRORS ?= 200
IAM_JUDGE := .build/iam-judge
SAM_READY := $(SAM_VENV)/.ready
PIP := -m pip install --quiet --disable-pip-version-check --require-hashes
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-west-1 PATH="$(CURDIR)/$(BIN):$$PATH" $(SAM_VENV)/bin/sam
# Twice the two cores of a small machine: servers, retries and state machines are waited for.
PYTEST_WORKERS ?= 4

# Bytecode outside the folders that are packaged; without any, each process of a test compiles some 200 modules.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.build/pycache
# Who sets it against bytecode beside the code does not mean this folder.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/pullahead

.PHONY: help demo test test-unit check format policies facts build package local live bench scale costs simulate lock setup clean iam-judge iam-simulate chaos first-deployment

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Run the whole service on this machine and show what it does (UPSTREAM=docker.io/library/alpine:3.20 for a real one)
	@$(BIN)/python -m local.demo $(if $(UPSTREAM),--upstream '$(UPSTREAM)')

test: $(READY) $(SAM_READY) ## Run all tests
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-unit: $(READY) ## Run the tests of the package alone, without servers or processes (two minutes)
	$(BIN)/python -m pytest -q tests/unit

check: $(READY) $(SAM_READY) ## Format, lint, types, architecture, template and state machine
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/architecture
	$(BIN)/python -m local.policies --check
	$(BIN)/cfn-lint template.yaml
	$(SAM) validate --lint

format: $(READY) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

policies: $(READY) ## Write docs/policies.md anew from template.yaml
	@$(BIN)/python -m local.policies

facts: $(READY) ## Write docs/facts.md anew from tests/live/
	@$(BIN)/python -m tests.live.documents

build: $(READY) $(SAM_READY) ## Build for AWS (sam build, without Docker)
	$(SAM) build

package: $(READY) ## Write a CloudFormation template and archives for StackSets, Terraform and Service Catalog (into dist/)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m local.package $(ARGS)

local: $(READY) ## Keep the local AWS up, with the stack deployed (RULES=FILE, PARAMS="Name=value ...", PORT=4566, ARGS="--empty --verbose")
	@$(BIN)/python -m local $(if $(PORT),--port '$(PORT)') $(if $(RULES),--rules '$(RULES)') $${PARAMS:+--parameters "$$PARAMS"} $(ARGS)

live: $(READY) $(SAM_READY) ## Check in a sandbox AWS account what the code relies on (ARGS=--clean: remove leftovers; docs/facts.md)
	@$(BIN)/python -m tests.live $(ARGS)

bench: $(READY) $(BENCH_READY) ## Measure copies over TLS, ours beside other tools' (SIZE=small for a quick look)
	@$(BIN)/python -m bench --size $(SIZE) --plot-with $(BENCH_VENV)/bin/python $(if $(filter full,$(SIZE)),--write-docs) $(ARGS)

scale: $(READY) ## Measure the functions with 100,000 mirrors: memory, time, DynamoDB units (ARGS="--only page")
	@$(BIN)/python -m bench.scale $(if $(ARGS),$(ARGS),--write-docs)

chaos: $(READY) ## Run 50 mirrors on the local AWS while everything around them goes wrong (ARGS="--seed N --short")
	@$(BIN)/python -m tests.chaos $(ARGS)

first-deployment: $(READY) ## Deploy 200 mirrors at once into a local AWS that runs ten functions at the same time (MIRRORS=N)
	MIRRORS=$(MIRRORS) $(BIN)/python -m pytest -q --durations=1 tests/scenarios/test_small_account.py

iam-judge: $(IAM_JUDGE)/.ready ## Set up a second judge of IAM, for its tests (needs Node.js and npm)

iam-simulate: $(READY) $(IAM_JUDGE)/.ready ## Have a second judge of IAM judge what the functions' roles may do
	$(BIN)/python -m pytest -q tests/iam/test_second_judge.py

costs: $(READY) ## Compute what checking costs, and write it into docs/operating.md
	@$(BIN)/python -m bench.costs
	@$(BIN)/python -m bench.pull_costs

simulate: $(READY) ## Simulate hours of checks of up to 100,000 tags in minutes, and write it into docs/operating.md (ARGS=--large-faults)
	@$(BIN)/python -m bench.simulate $(if $(ARGS),$(ARGS),--write-docs)

lock: ## Write the pinned requirements anew (needs uv)
	requirements/lock.sh

setup: $(READY) $(SAM_READY) ## Only set up

clean: ## Remove everything that was made here
	rm -rf $(VENV) $(SAM_VENV) $(BENCH_VENV) .build .aws-sam dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements/dev.txt
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@rm -rf $(VENV)
	@"$$(requirements/find-python.sh)" -m venv $(VENV)
	@$(BIN)/python $(PIP) -r requirements/dev.txt
	@touch $@

$(SAM_READY): requirements/sam.txt
	@echo "Setting up $(SAM_VENV) for the SAM CLI (once, about a minute) ..."
	@rm -rf $(SAM_VENV)
	@"$$(requirements/find-python.sh)" -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/python $(PIP) -r requirements/sam.txt
	@touch $@

$(IAM_JUDGE)/.ready: tests/iam/second_judge/package.json tests/iam/second_judge/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(BENCH_READY): requirements/bench.txt
	@echo "Setting up $(BENCH_VENV) for the plot (once) ..."
	@rm -rf $(BENCH_VENV)
	@"$$(requirements/find-python.sh)" -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python $(PIP) -r requirements/bench.txt
	@touch $@
