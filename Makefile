# `make demo` and `make test` are all a newcomer needs; both create .venv where it is absent.
PYTHON ?= python3
PYTHON312 ?= python3.12
VENV := .venv
OLDEST := .venv-oldest
RUN := $(VENV)/bin/python

# Of the package's lines, this share in percent is run by the tests at least.
COVERED := 96.5

BENCHMARK := .venv-benchmark

.PHONY: demo serve quick quick-lint quick-tests test coverage check build test-wheel test-oldest test-real \
	test-real-oldest test-aws test-flyte test-ray test-hf-serve evaluate evaluate-real demo-models benchmark load \
	soak hostile clean

demo: $(VENV)/installed
	$(RUN) -m scripts.demo

# The models that ASR_MODEL and the others name, else real ones where `make demo` has fetched them, else the demo models.
serve: $(VENV)/installed-server
	if [ -z "$$ASR_MODEL" ]; then \
		if $(RUN) -m scripts.models where whisper-base open > /dev/null 2>&1; then \
			export ASR_MODEL=whisper-base DIARIZATION_MODEL=open; \
		else \
			export ASR_MODEL=demo/whisper ASSISTANT_MODEL=demo/assistant DIARIZATION_MODEL=demo/diarizer; \
		fi; \
	fi; exec $(RUN) -m server

# Under a minute on two cores, without a model: for between two changes.
quick: $(VENV)/installed-dev
	$(MAKE) --jobs=2 --output-sync=target --no-print-directory quick-tests quick-lint

quick-lint:
	$(RUN) -m ruff check --quiet .
	$(RUN) -m mypy turnscribe

quick-tests:
	$(RUN) -m pytest -m "not models and not serving and not property and not slow"

# About twelve minutes on two cores.
test: $(VENV)/installed-dev
	$(RUN) -m pytest $(PYTEST_ARGS)

# The tests, with the share of the package's lines that they run: CI's.
coverage: $(VENV)/installed-dev
	$(RUN) -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERED) $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

# The image's packages, each version with the hashes of its files, for the image's Python. Asks the package index.
.PHONY: lock
lock: .venv-lock/installed
	.venv-lock/bin/uv pip compile requirements-server.txt requirements-otel.txt --output-file requirements-lock.txt --upgrade --quiet \
		--generate-hashes --only-binary :all: --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--custom-compile-command "make lock"

# What is published of holes in the image's packages, and in the oldest that the server's bounds let in. Asks the package
# index about each. CI's, every week.
.PHONY: audit
audit: .venv-lock/installed
	mkdir -p build
	sed -n 's/^\([a-z0-9-]*\)>=\([0-9.]*\).*/\1==\2/p' requirements-formats.txt requirements-server.txt \
		> build/oldest-server.txt
	.venv-lock/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements-lock.txt
	.venv-lock/bin/pip-audit --strict --disable-pip --no-deps --requirement build/oldest-server.txt

# The wheel, in build/dist.
build: $(VENV)/installed-dev
	rm -rf build/dist
	$(RUN) -m build --wheel --outdir build/dist

# The wheel, installed beside the packages of .venv, in a folder that has nothing of the repository.
test-wheel: build
	bash .ci/try_wheel

# The manual, into build/site. A broken link is an error, here and in `make check`.
.PHONY: docs
check: docs
docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

# The first serving container's versions. CI passes `PYTEST_ARGS='-m "not property and not serving"'`.
test-oldest: $(OLDEST)/installed-dev
	$(OLDEST)/bin/python -m pytest $(PYTEST_ARGS)

# Real models on real recordings: 230 MB of models and 460 MB of Debian's packages are fetched once. Some minutes on
# two cores.
test-real: $(VENV)/installed-dev
	$(RUN) -m pytest tests/real $(PYTEST_ARGS)

# One of them on the oldest versions.
test-real-oldest: $(OLDEST)/installed-dev
	$(OLDEST)/bin/python -m pytest tests/real -m real_oldest $(PYTEST_ARGS)

# The platforms' adapters, each with its platform's own software, in an environment of its own.
test-aws: .venv-aws/installed .venv-torchserve/installed
	.venv-aws/bin/python -m pytest tests/adapters/aws

test-flyte: .venv-flyte/installed
	.venv-flyte/bin/python -m pytest tests/adapters/flyte

test-ray: .venv-ray/installed
	.venv-ray/bin/python -m pytest tests/adapters/ray

# The newer serving container's own server, which needs Python 3.12. Not in CI: 6 GB and about five minutes.
test-hf-serve:
	@if ! $(PYTHON312) -c '' 2> /dev/null; then \
		echo "Nothing was tested: there is no $(PYTHON312). Name one: make test-hf-serve PYTHON312=/path/to/python3.12"; \
	else \
		$(MAKE) --no-print-directory .venv-hf-serve/installed && \
			.venv-hf-serve/bin/python -m pytest tests/adapters/hf_serve; \
	fi

evaluate: $(VENV)/installed-dev
	ASR_MODEL=demo/whisper ASSISTANT_MODEL=demo/assistant DIARIZATION_MODEL=demo/diarizer \
		$(RUN) -m scripts.evaluate --synthesize 1000 --sentences 200 --chunk-length-s 15

# An hour of real recordings, beside the peers on the same weights: hours on two cores; goes on where it was interrupted.
# EVALUATE_ARGS=--help shows what else it can do. openai-whisper's own requirements would bring a GPU's compiler.
evaluate-real: .venv-evaluation/installed
	.venv-evaluation/bin/python -m tests.real.evaluate $(EVALUATE_ARGS)

# Hours of CPU, or minutes on a GPU; goes on where it was interrupted.
demo-models: $(OLDEST)/installed-dev
	$(OLDEST)/bin/python -m scripts.train_demo_models

# About an hour on two cores; goes on where it was interrupted. The figures are in docs/figures/index.md.
benchmark: $(BENCHMARK)/installed
	for command in asr drafts diarize request load; do \
		$(BENCHMARK)/bin/python -m scripts.benchmark $$command || exit 1; \
	done

# About five minutes.
load: $(BENCHMARK)/installed
	$(BENCHMARK)/bin/python -m scripts.load_test

# An hour of mixed requests, restarts and kills. SOAK_ARGS="--minutes 10 --seed 7" makes it ten minutes.
soak: $(VENV)/installed-dev
	$(RUN) -m scripts.soak $(SOAK_ARGS)

# 10,000 hostile requests, about ten minutes. HOSTILE_ARGS=--full has some of the largest sizes before them.
hostile: $(VENV)/installed-dev
	$(RUN) -m scripts.hostile $(HOSTILE_ARGS)

$(VENV)/installed: requirements.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -r requirements.txt
	touch $@

$(VENV)/installed-server: $(VENV)/installed requirements-server.txt requirements-formats.txt
	$(RUN) -m pip install -r requirements-server.txt
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt requirements-docs.txt requirements-otel.txt \
		requirements-server.txt requirements-formats.txt
	$(RUN) -m pip install -r requirements-dev.txt
	touch $@

$(OLDEST)/installed-dev: requirements-oldest.txt requirements.txt requirements-dev.txt requirements-docs.txt \
		requirements-otel.txt requirements-server.txt requirements-formats.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -r requirements-oldest.txt -r requirements.txt -r requirements-dev.txt
	touch $@

# The transformers of Amazon's container are older than 5, so its tests are on top of the oldest set.
.venv-aws/installed: $(OLDEST)/installed-dev requirements-aws.txt tests/adapters/aws/requirements.txt
	$(call on_top_of,$(OLDEST))
	.venv-aws/bin/python -m pip install -c requirements-oldest.txt -r tests/adapters/aws/requirements.txt
	touch $@

.venv-torchserve/installed: $(OLDEST)/installed-dev tests/adapters/aws/requirements-torchserve.txt
	$(call on_top_of,$(OLDEST))
	.venv-torchserve/bin/python -m pip install -c requirements-oldest.txt \
		-r tests/adapters/aws/requirements-torchserve.txt
	touch $@

.venv-flyte/installed: $(VENV)/installed-dev requirements-flyte.txt tests/adapters/flyte/requirements.txt
	$(call on_top_of,$(VENV))
	.venv-flyte/bin/python -m pip install -r tests/adapters/flyte/requirements.txt
	touch $@

.venv-ray/installed: $(VENV)/installed-dev requirements-ray.txt tests/adapters/ray/requirements.txt
	$(call on_top_of,$(VENV))
	.venv-ray/bin/python -m pip install -r tests/adapters/ray/requirements.txt
	touch $@

.venv-lock/installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install "pip-audit>=2.10,<3" "uv>=0.13,<0.14"
	touch $@

# As the container does it: requirements.txt comes last, on top of what hf-serve brought.
.venv-hf-serve/installed: requirements.txt tests/adapters/hf_serve/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON312) -m venv $(@D)
	$(@D)/bin/python -m pip install -r tests/adapters/hf_serve/requirements.txt
	$(@D)/bin/python -m pip freeze > $(@D)/before.txt
	$(@D)/bin/python -m pip install -r requirements.txt
	touch $@

# Makes the target's environment, which sees the packages of another one ($1) without changing it.
on_top_of = test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D); \
	cd $(@D)/lib/python3*/site-packages && ls -d $(CURDIR)/$(1)/lib/python3*/site-packages > below.pth

$(BENCHMARK)/installed: requirements-benchmark.txt requirements-server.txt requirements-formats.txt requirements.txt
	test -x $(BENCHMARK)/bin/python || $(PYTHON) -m venv $(BENCHMARK)
	$(BENCHMARK)/bin/python -m pip install -r requirements-benchmark.txt
	touch $@

# The measures are in .venv, the peers on top.
.venv-evaluation/installed: $(VENV)/installed-dev
	$(call on_top_of,$(VENV))
	.venv-evaluation/bin/python -m pip install faster-whisper==1.2.1 numba tiktoken more-itertools librosa soundfile
	.venv-evaluation/bin/python -m pip install --no-deps openai-whisper==20250625 whisperlivekit==0.2.26
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(BENCHMARK) .venv-evaluation .venv-clients .venv-aws .venv-torchserve .venv-flyte .venv-ray \
		.venv-hf-serve .venv-lock .venv-wheel build
