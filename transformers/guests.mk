# The shipped guests; included by the root Makefile.

PYTHON ?= .venv/bin/python

.PHONY: guests guests-check guests-test

guests: ## rebuild the guests and replace the committed modules
	$(PYTHON) transformers/build.py --write

guests-check: ## rebuild the guests and compare them with the committed modules
	$(PYTHON) transformers/build.py

guests-test: ## the guests' own unit tests, natively
	cd transformers/guests/rust && CARGO_TARGET_DIR=$(CURDIR)/.toolchains/target-native RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo test --locked --quiet
