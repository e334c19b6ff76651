# make train   a first experiment: ENet on generated street scenes
# make test    the tests        make test-all   the long ones too
# make setup   the environment for development only
# make lint    style and types  make benchmark  the side-by-side measurements

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
IN_PARALLEL := -n logical --maxprocesses 8 --dist worksteal
CHECK = import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed; run make PYTHON=python3.12')

.PHONY: setup train test test-all lint benchmark clean

# Installs a file of requirements, and notes that by touching the target and what else is up to date.
define install
	@$(PYTHON) -c "$(CHECK)"
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $(1)
	touch $(2)
endef

setup: $(VENV)/.installed

# Installed again only when what is required has changed.
$(VENV)/.installed: $(wildcard requirements*.txt)
	$(call install,requirements-dev.txt,$@ $(VENV)/.installed-for-training)

$(VENV)/.installed-for-training: requirements.txt
	$(call install,requirements.txt,$@)

train: $(VENV)/.installed-for-training
	$(RUN) train_segmentation.py

test: setup
	$(RUN) -m pytest $(IN_PARALLEL)

test-all: setup
	$(RUN) -m pytest $(IN_PARALLEL) -m ""

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy .

benchmark: setup
	$(RUN) -m benchmarks.loss
	$(RUN) -m benchmarks.metrics
	$(RUN) -m benchmarks.trainer_overhead
	$(RUN) -m benchmarks.models
	$(RUN) -m benchmarks.backends
	$(RUN) -m benchmarks.data
	$(RUN) -m benchmarks.crops
	$(RUN) -m benchmarks.checkpointing
	$(RUN) -m benchmarks.checkpoint_writing
	$(RUN) -m benchmarks.processes
	$(RUN) -m benchmarks.compare
	$(RUN) -m benchmarks.inference

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
