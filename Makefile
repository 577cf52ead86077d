# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` work on a machine with Python 3.11+, a C++20 compiler and make.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
PACKAGED := $(shell find jax_ane pjrt_plugin -type f \( -name '*.py' -o -name '*.cc' -o -name '*.h' \
              -o -name '*.json' -o -name 'exports.*' \)) CMakeLists.txt pyproject.toml
CPP_FILES = $(shell find pjrt_plugin tests -name '*.cc' -o -name '*.h')

.PHONY: demo test test-jax notebooks lint format sanitized test-cpp test-neon fuzz package clean
demo: $(VENV)/.installed
	$(BIN)/jax-ane demo

test: $(VENV)/.test
	$(BIN)/pytest -n $(WORKERS)

# What a version of jax can change: all but the chip's arithmetic, MIL and passes over it, and the
# examples, benchmarks and random programs, which are long and ask nothing else of jax.
NOT_JAX = numerics mil runtime fuzz compiler/passes compiler/test_properties.py \
          test_parity_random.py test_benchmarks.py test_benchmark_predict.py test_readme.py
test-jax: $(VENV)/.test
	$(BIN)/pytest -n $(WORKERS) $(NOT_JAX:%=--ignore=tests/%) --ignore-glob='tests/test_example_*'

notebooks: $(VENV)/.notebook
	JAX_ANE_DEMO_EPOCHS=2 JAX_ANE_DEMO_STEPS=10 $(BIN)/pytest -n $(WORKERS) --nbmake --nbmake-timeout=600 notebooks

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)

format: $(VENV)/.lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(CPP_FILES)

# C++ tests under AddressSanitizer and UBSan; needs doctest (Debian: doctest-dev). With
# CLANGXX=clang++ the same build holds the fuzz targets. -O1: most of the time goes into building.
CLANGXX ?=
SANITIZED = build/sanitized$(if $(CLANGXX),-clang)
sanitized: $(VENV)/.lint
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DJAX_ANE_CPP_TESTS=ON \
	  $(if $(CLANGXX),-DCMAKE_CXX_COMPILER=$(CLANGXX) -DJAX_ANE_FUZZ=ON,-DJAX_ANE_SANITIZE=ON) \
	  -DJAX_ANE_PYTHON_MODULE=OFF $(CMAKE_ARGS)
	$(BIN)/cmake --build $(SANITIZED)

test-cpp: sanitized
	$(BIN)/ctest --test-dir $(SANITIZED) --output-on-failure --no-tests=error

# The kernel tests for 64-bit Arm under an emulator; needs doctest, a cross compiler and qemu
# (Debian: doctest-dev, g++-aarch64-linux-gnu, qemu-user). -O1: most of the time goes into building.
test-neon: $(VENV)/.lint
	$(BIN)/cmake -S . -B build/neon -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DCMAKE_BUILD_TYPE=None \
	  -DCMAKE_CXX_FLAGS=-O1 -DJAX_ANE_CPP_TESTS=ON -DJAX_ANE_PYTHON_MODULE=OFF $(CMAKE_ARGS)
	$(BIN)/cmake --build build/neon --target jax_ane_kernel_tests
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/jax_ane_kernel_tests

# The fuzz targets (MIL text; programs of a grammar, evaluated; blob files) for FUZZ_SECONDS in all,
# half of it on the programs; needs clang with libFuzzer. Findings are left in the build's `found`.
FUZZ_SECONDS ?= 120
FUZZ = cd $(SANITIZED) && ASAN_OPTIONS=allocator_may_return_null=1
FUZZ_FLAGS = -rss_limit_mb=2048 -timeout=20 -verbosity=0 -print_final_stats=1
CORPUS = $(abspath tests/fuzz/corpus)
fuzz: CLANGXX = clang++
fuzz: sanitized
	mkdir -p $(SANITIZED)/found/mil $(SANITIZED)/found/program $(SANITIZED)/found/blob
	($(FUZZ) ./fuzz_program -len_control=0 -max_len=600 $(FUZZ_FLAGS) \
	  -max_total_time=$$(($(FUZZ_SECONDS) / 2)) found/program $(CORPUS)/program) & program=$$!; \
	($(FUZZ) ./fuzz_mil -dict=$(abspath tests/fuzz/mil.dict) -max_len=4000 $(FUZZ_FLAGS) \
	  -max_total_time=$$(($(FUZZ_SECONDS) / 4)) found/mil $(CORPUS)/mil) && \
	($(FUZZ) ./fuzz_blob -max_len=2000 $(FUZZ_FLAGS) \
	  -max_total_time=$$(($(FUZZ_SECONDS) / 4)) found/blob $(CORPUS)/blob); \
	others=$$?; wait $$program && exit $$others

# An sdist, and a wheel built from it, in build/dist.
package: $(VENV)/.lint
	rm -rf build/dist
	$(BIN)/python -m build --outdir build/dist

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jax-ane needs Python 3.11 or newer; run make with PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: $(BIN)/python $(PACKAGED)
	$(PIP) install --quiet ".[demo,train]"
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(PIP) install --quiet --group test
	$(PIP) install --quiet --group corpus || \
	  echo "coremltools has no wheel for this Python: tests/mil/test_coremltools.py is skipped"
	touch $@

$(VENV)/.notebook: $(VENV)/.test
	$(PIP) install --quiet --group notebook
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) install --quiet --group lint --group build
	touch $@

clean:
	rm -rf build dist
