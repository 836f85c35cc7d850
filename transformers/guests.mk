# The shipped guests and the languages' examples; included by the root Makefile.
.PHONY: guests guests-check guests-test
guests: .venv/.dev  ## rebuild the guests and replace the committed modules (ONLY="shipped zig" for some)
	$(BIN)/python transformers/build.py --write $(ONLY)

guests-check: .venv/.dev  ## rebuild the guests and compare them with the committed modules
	$(BIN)/python transformers/build.py $(ONLY)

guests-test:  ## the Rust guests' own unit tests, natively
	cd transformers && CARGO_TARGET_DIR=$(CURDIR)/.toolchains/target-native \
		RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo test --locked --quiet --workspace
