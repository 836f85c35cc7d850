# The shipped guests; included by the root Makefile.
GUESTS_PYTHON := $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

.PHONY: guests guests-check guests-test
guests:  ## rebuild the guests and replace the committed modules
	$(GUESTS_PYTHON) transformers/build.py --write

guests-check:  ## rebuild the guests and compare them with the committed modules
	$(GUESTS_PYTHON) transformers/build.py

guests-test:  ## the Rust guests' own unit tests, natively
	cd transformers && CARGO_TARGET_DIR=$(CURDIR)/.toolchains/target-native \
		RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo test --locked --quiet
