# make quickstart   build the world, train everything, write runs/quickstart/report.html
# make test         run the tests
# make demo         serve the run on a page: draw, speak, watch
# PRESET=gpu, OUT=folder and SEED=number change the quick start, and WORLD what it is made of:
#   make quickstart OUT=runs/recorded WORLD="--digits mnist --speech fsdd"
# VENV=path puts the environment elsewhere; INSTALL=0 uses one whose packages are there already.

# An environment may be shared by several checkouts: this one comes first.
export PYTHONPATH := $(CURDIR)

PYTHON ?= python3
VENV ?= .venv
INSTALL ?= 1
PRESET ?= cpu
OUT ?= runs/quickstart
SEED ?= 0
STAMP = $(VENV)/.installed-$(shell sha256sum pyproject.toml | cut -c1-16)

ifeq ($(INSTALL),0)
RUN = $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(PYTHON))
READY =
else
RUN = $(VENV)/bin/python
READY = $(STAMP)
endif

.PHONY: quickstart demo smoke test lint clean

quickstart: $(READY)
	$(RUN) -m multimodal.quickstart --out $(OUT) --preset $(PRESET) --seed $(SEED) $(WORLD)

demo: $(READY)
	$(RUN) -m multimodal.demo --run $(OUT)

smoke: $(READY)
	$(RUN) -m multimodal.quickstart --out runs/smoke --smoke true

test: $(READY) lint
	$(RUN) -m pytest -n 2 -m "not slow and not gpu"

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

clean:
	rm -rf runs/smoke .pytest_cache .ruff_cache

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check -q -e ".[speech,sweep,test]"
	touch $@
