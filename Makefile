# moltbot: two commands do everything on a fresh Debian machine with Rust.
#   make run     builds the release and starts the gateway in the foreground
#   make test    installs what the tests need, then passes every test
.PHONY: run build model test siege compat test-model bench layout lint lint-code lint-deny setup clean

CARGO ?= cargo
ARGS ?=

# Where no key and no config names a model, also the program that runs one on this machine is built: `up` offers one then.
run: build
	if ./target/release/moltbot models status --json | grep -q '"source": "discovery"'; then $(MAKE) model; fi
	./target/release/moltbot up $(ARGS)

build:
	$(CARGO) build --release --locked -p moltbot

# The program that runs models on this machine, with what its processor can do; beside the other one.
model:
	sh tools/build_model.sh

setup:
	sh tests/setup.sh

test:
	sh tests/run.sh

siege:
	sh tests/siege.sh

# The command lines and terminal programs of other generations, against the release binary.
compat: build
	sh tests/compat/run.sh

test-model: build
	sh tests/real-model/run.sh

bench: build
	sh tests/bench.sh $(ARGS)

# Finds anew what a start and an idle gateway run, by which the release build lays its functions out.
layout:
	sh tests/layout/run.sh $(ARGS)

lint: lint-code lint-deny

lint-code:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	sh tests/uncalled.sh

lint-deny:
	command -v cargo-deny > /dev/null || CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --locked --debug
	cargo-deny check bans licenses sources

clean:
	$(CARGO) clean
