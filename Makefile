# `make demo` and `make test` work on a machine with Python 3.11+, a C++20 compiler and make.
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
SOURCES := $(shell find jax_ane pjrt_plugin -type f \( -name '*.py' -o -name '*.cc' -o -name '*.h' -o -name '*.json' \)) \
           CMakeLists.txt pyproject.toml

.PHONY: demo test notebooks lint format test-cpp clean
demo: $(VENV)/.demo
	$(VENV)/bin/jax-ane demo

test: $(VENV)/.test
	$(VENV)/bin/pytest -n 2

notebooks: $(VENV)/.notebook
	JAX_ANE_DEMO_EPOCHS=2 $(VENV)/bin/pytest --nbmake --nbmake-timeout=600 notebooks

lint: $(VENV)/.lint
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright
	find pjrt_plugin tests -name '*.cc' -o -name '*.h' | xargs $(VENV)/bin/clang-format --dry-run --Werror

format: $(VENV)/.lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .
	find pjrt_plugin tests -name '*.cc' -o -name '*.h' | xargs $(VENV)/bin/clang-format -i

# C++ tests under AddressSanitizer and UBSan; needs doctest (Debian: doctest-dev).
test-cpp: $(VENV)/.lint
	$(VENV)/bin/cmake -S . -B build/asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DJAX_ANE_WERROR=ON -DJAX_ANE_SANITIZE=ON -DJAX_ANE_CPP_TESTS=ON -DJAX_ANE_PYTHON_MODULE=OFF
	$(VENV)/bin/cmake --build build/asan
	$(VENV)/bin/ctest --test-dir build/asan --output-on-failure

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"

$(VENV)/.demo: $(VENV)/bin/python $(SOURCES)
	$(PIP) install --quiet ".[demo]"
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) install --quiet --group test
	touch $@

$(VENV)/.notebook: $(VENV)/.test
	$(PIP) install --quiet --group notebook
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) install --quiet --group lint "cmake>=3.26" ninja
	touch $@

clean:
	rm -rf build dist
