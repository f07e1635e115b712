# Thin on purpose: a target is what you would type. `make` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build runner demo bench rehearse test test-slow test-all mutants lint release deploy adopt push-runner

# What the functions run on in AWS (arm64, x86_64); what the runner runs on (a Rust target).
ARCHITECTURE ?= arm64
# The stack that `make deploy` deploys, and its parameters, as Name=value with spaces between them. A parameter that is not
# named keeps the value that it has.
STACK ?= ovenbird
PARAMETERS ?=
# What `make adopt` takes over from.
OLD_TABLE ?=
OLD_BUCKET ?=
RUNNER_TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')

export OVENBIRD_HOME ?= /var/lib/ovenbird
export SAM_CLI_TELEMETRY := 0
FUNCTIONS := launch-builder poll-readiness run-validation snapshot promote prune
TARGET := $(or $(CARGO_TARGET_DIR),target)
SAM := $(OVENBIRD_HOME)/venv/bin/sam

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Install what the demo and the tests need: apt packages, and Python packages in an environment of their own
	@tools/setup

# One call of cargo for everything: the EC2 SDK keeps one core busy for minutes, and the others have the rest to do.
# The dev profile: a release build of the SDK takes half an hour. The functions are stripped, because their zips travel;
# what `make release` left there is newer, and maybe for another architecture: it makes way.
build: runner ## Build everything for this machine; functions and runner go to build/
	cargo build --locked --quiet --workspace $(ALSO)
	@for name in $(FUNCTIONS); do \
	  if [[ -e build/.release || $(TARGET)/debug/$$name -nt build/$$name/bootstrap ]]; then \
	    mkdir -p build/$$name && strip -o build/$$name/bootstrap $(TARGET)/debug/$$name; \
	  fi; \
	done; \
	rm -f build/.release

# What is shipped names no folder of this machine: of one commit and one toolchain, every machine builds the same bytes.
SAME := --remap-path-prefix=$(CURDIR)=/ovenbird --remap-path-prefix=$(abspath $(TARGET))=/target \
  --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

# Static: it runs on bases older than this machine.
runner:
	RUSTFLAGS='-C target-feature=+crt-static $(SAME)' cargo build --locked --quiet -p ovenbird-runner --profile runner --target $(RUNNER_TARGET)
	@mkdir -p build && install $(TARGET)/$(RUNNER_TARGET)/runner/ovenbird-runner build/ovenbird-runner

demo: setup build ## Do the main job on this machine, watched: upload, tested image, machines from it (KEEP=1 leaves the cloud up)
	$(TARGET)/debug/demo

bench: setup build ## Measure, and print each figure beside its goal (the first time builds the functions for release: half an hour)
	$(TARGET)/debug/bench
	cargo run --locked --quiet -p ovenbird-testkit --example prune
	cargo build --locked --release $(FUNCTIONS:%=-p %)
	@tools/cold-start $(FUNCTIONS:%=$(TARGET)/release/%)

rehearse: ## Walk bakes in virtual time with AWS's latencies, and print what they take and cost
	cargo run --locked --quiet -p ovenbird-testkit --example rehearse

lint: ## Check format, clippy, the floors of crates/core, the template and its policies
	@tools/setup lint
	cargo fmt --all -- --check
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	cargo check --locked --quiet -p ovenbird --no-default-features
	cargo test --locked --quiet --workspace --test contracts floors
	$(SAM) validate --lint --region us-east-1
	$(dir $(SAM))cfn-lint --regions us-east-1 cn-north-1 us-gov-west-1 --template infra/template.yaml
	$(dir $(SAM))python tools/lint-policies infra/template.yaml

test test-slow: ALSO := --bins --tests

test: setup build ## Run every test but those that take minutes
	@mkdir -p build
	cargo test --locked --workspace 2>&1 | tee build/test.log
	@awk '/^test result:/ {passed += $$4; failed += $$6; ignored += $$8} END {print "test:", \
	  passed, "tests passed,", failed, "failed,", ignored, "not run"}' build/test.log

test-slow: setup build ## Run the tests that take minutes: every pair of faults; Puppet and Ansible in machines; odd requests
	cargo test --locked --workspace -- --ignored

test-all: lint test test-slow ## Run lint, test and test-slow

# Each mutant is built and judged by the unit tests and the steps, in seconds; those they miss are judged by the walk too.
# Missed by both is in $(TARGET)/mutants/walk/mutants.out/missed.txt. Builds go to a folder of their own and stay warm.
SHARD ?= 1/1
MUTANTS := $(abspath $(TARGET)/mutants)
MUTATE = CARGO_TARGET_DIR=$(MUTANTS)/target $(MUTANTS)/bin/cargo-mutants mutants --jobs 1

mutants: ## Check that tests fail when a decision is changed (about two hours; SHARD=1/8 does an eighth)
	@[[ -x $(MUTANTS)/bin/cargo-mutants ]] || cargo install --quiet cargo-mutants --version '^27' --locked --root $(MUTANTS)
	@rm -rf $(MUTANTS)/steps $(MUTANTS)/walk && mkdir -p $(MUTANTS)/steps $(MUTANTS)/walk
	$(MUTATE) --profile mutants --output $(MUTANTS)/steps --shard $$(($(firstword $(subst /, ,$(SHARD))) - 1))/$(lastword $(subst /, ,$(SHARD))) \
	  -- --package=ovenbird-tests --lib --test=steps || [[ $$? == [23] ]]
	@missed=(); while read -r line; do missed+=(--re "^$$line\$$"); done \
	  < <(sed 's/[][().*+?^$${}|\\]/\\&/g' $(MUTANTS)/steps/mutants.out/missed.txt); \
	if (( $${#missed[@]} )); then \
	  $(MUTATE) --output $(MUTANTS)/walk "$${missed[@]}" -- --package=ovenbird-tests --test=walk; \
	fi

release: ## Build the functions for AWS into build/ (ARCHITECTURE=arm64 or x86_64)
	@tools/setup release
	rm -rf $(FUNCTIONS:%=build/%)
	@mkdir -p build && touch build/.release
	PATH="$(OVENBIRD_HOME)/venv/bin:$$PATH" RUSTFLAGS='$(SAME)' cargo lambda build --locked --release --lambda-dir build \
	  $(if $(filter arm64,$(ARCHITECTURE)),--arm64,--x86-64) $(FUNCTIONS:%=-p %)
	cd build && sha256sum $(FUNCTIONS:%=%/bootstrap) | tee SHA256SUMS

# Checked first: building takes minutes, and CloudFormation would say it after them.
deploy: ## Deploy the stack to the AWS account of your profile (STACK=ovenbird PARAMETERS="VpcId=… SubnetIds=…,…")
	@tools/check-deploy infra/template.yaml '$(STACK)' $(PARAMETERS)
	@$(MAKE) --no-print-directory release
	$(SAM) deploy --stack-name $(STACK) --parameter-overrides Architecture=$(ARCHITECTURE) $(PARAMETERS)

adopt: setup ## Let the stack take over what a deleted one left (OLD_TABLE=… OLD_BUCKET=…; without YES=1 it only says what)
	@$(dir $(SAM))python tools/adopt '$(STACK)' '$(OLD_TABLE)' '$(OLD_BUCKET)' $(if $(filter 1 yes,$(YES)),--yes)

push-runner: runner ## Upload the runner to the stack's bucket, once for each architecture of your bases
	cargo run --locked --quiet -p ovenbird -- runner push build/ovenbird-runner \
	  --architecture $(if $(filter aarch64%,$(RUNNER_TARGET)),arm64,x86_64)
