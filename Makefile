# make quickstart   build the world, train everything, write runs/quickstart/report.html
# make test         run the tests
# make demo         serve the run on a page: draw, speak, watch
# PRESET=gpu, OUT=folder and SEED=number change the quick start, and WORLD what it is made of:
#   make quickstart OUT=runs/recorded WORLD="--digits mnist --speech fsdd"
# VENV=path puts the environment elsewhere, PYTHON=python3.12 makes it of another Python;
# INSTALL=0 uses an environment whose packages are there already.

# An environment may be shared by several checkouts: this one comes first.
export PYTHONPATH := $(CURDIR)

PYTHON ?= python3
VENV ?= .venv
INSTALL ?= 1
PRESET ?= cpu
OUT ?= runs/quickstart
SEED ?= 0
STAMP = $(VENV)/.installed-$(shell sha256sum pyproject.toml | cut -c1-16)
VERSION = -c "import sys; print(*sys.version_info[:2])"

# Paths may hold blanks: they stand in quotes, and none is a target.
ifeq ($(INSTALL),0)
RUN = "$(shell test -x "$(VENV)/bin/python" && echo "$(VENV)/bin/python" || echo "$(PYTHON)")"
READY =
else
RUN = "$(VENV)/bin/python"
READY = setup
endif

.PHONY: quickstart demo smoke test lint setup clean

quickstart: $(READY)
	$(RUN) -m multimodal.quickstart --out "$(OUT)" --preset $(PRESET) --seed $(SEED) $(WORLD)

demo: $(READY)
	$(RUN) -m multimodal.demo --run "$(OUT)"

smoke: $(READY)
	$(RUN) -m multimodal.quickstart --out runs/smoke --smoke true

test: $(READY) lint
	$(RUN) -m pytest -n 2 -m "not slow and not gpu"

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

# An environment of another Python than the one that was asked for is made anew.
setup:
ifneq ($(origin PYTHON),file)
	@if [ -f "$(VENV)/pyvenv.cfg" ] && \
	    [ "$$("$(VENV)/bin/python" $(VERSION))" != "$$("$(PYTHON)" $(VERSION))" ]; then \
	  "$(PYTHON)" -m venv --clear "$(VENV)"; \
	fi
endif
	@if [ ! -e "$(STAMP)" ]; then set -ex; \
	  "$(PYTHON)" -m venv "$(VENV)"; \
	  "$(VENV)/bin/python" -m pip install --disable-pip-version-check -q -e ".[speech,sweep,test]"; \
	  rm -f "$(VENV)"/.installed-*; touch "$(STAMP)"; \
	fi

clean:
	rm -rf runs/smoke .pytest_cache .ruff_cache
