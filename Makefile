# make demo: set everything up and run the main job.  make test: set everything up and run all tests.
# make docs: the documentation as a site in build/docs.
PYTHON ?= python3
NATIVE := CMakeLists.txt $(wildcard cmake/*.cmake $(foreach ext,cc h,relay_frontend/*.$(ext) relay_frontend/*/*.$(ext) tvm_costmodel/*/*.$(ext)))
# Python compiles what is imported by itself; all of what is installed would take a minute.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: setup demo docs lint relay-env clean
.PHONY: test test-relay test-measure test-costmodel test-frontend test-docs

# Both at once: what one downloads takes no time of what the other compiles.
setup:
	@$(MAKE) --no-print-directory --jobs=2 .venv/installed relay-env

.venv/installed: pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[relax,train,dev]'
	touch $@

# Two TVM generations cannot share an interpreter: Relay's wheels exist for Python 3.10 only.
relay-env:
	@$(PYTHON) tools/relay_env.py

demo: setup
	.venv/bin/tvm-costmodel demo

docs: .venv/installed
	.venv/bin/python -m sphinx -W --keep-going -E -q -b html docs build/docs

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Each keeps to one core, so two of them run side by side; the longest start first.
test: export OMP_NUM_THREADS = 1
test:
	@$(MAKE) --no-print-directory --jobs=2 relay-env lint
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target \
	  test-relay test-measure test-costmodel test-frontend test-docs

test-measure:
	.venv/bin/python -m pytest tests/measure

test-costmodel:
	.venv/bin/python -m pytest --ignore=tests/measure --ignore=tests/relay_frontend \
	  --ignore=tests/test_docs.py

# With the native core and without it.
test-frontend:
	.venv/bin/python -m pytest tests/relay_frontend
	TVM_COSTMODEL_NATIVE=0 .venv/bin/python -m pytest -m "not relax and not worker" tests/relay_frontend

test-docs:
	.venv/bin/python -m pytest tests/test_docs.py

# With a place of its own for temporary files, among them the lock on this machine's cores.
test-relay:
	@if [ -x .venv-relay/bin/python ]; then \
	  directory=$$(mktemp -d); TMPDIR=$$directory .venv-relay/bin/python -m pytest; status=$$?; \
	  rm -rf $$directory; exit $$status; \
	fi

clean:
	rm -rf .venv .venv-relay build
