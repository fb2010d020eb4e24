# make run: the page on the shipped checkpoint. make test: every test. Both set up what they need the first time.

PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
CHECKPOINT ?= checkpoints/jungle-book

.PHONY: run test test-cluster browser lint audit clean

run: .venv/installed
	$(BIN)/python app.py --checkpoint $(CHECKPOINT) $(if $(PORT),--port $(PORT))

test: .venv/tested browser lint
	$(BIN)/python -m pytest

# The page on a cluster: installs Ray beside the rest.
test-cluster: .venv/clustered browser
	$(BIN)/python -m pytest -m cluster

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What is known of holes in the installed packages. Needs PyPI; a package that cannot be looked up is a failure.
audit: .venv/installed
	test -x .venv/audit/bin/pip-audit || { $(BIN)/python -m venv .venv/audit && \
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	.venv/audit/bin/pip-audit --strict --progress-spinner off --path "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: install one, or name it with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt requirements-serving.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/tested: requirements-dev.txt requirements-mcp.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/clustered: requirements-cluster.txt .venv/tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-cluster.txt
	@touch $@

# The browser tests drive Chromium; where apt is there and no browser is found, Debian's is installed.
browser:
	@command -v $${CHROMIUM:-chromium} chromium-browser google-chrome >/dev/null || \
	{ command -v apt-get >/dev/null && { test $$(id -u) = 0 || SUDO=sudo; $$SUDO apt-get update -qq && \
	$$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }; } || \
	echo "No Chromium here: the browser tests will be skipped. Install one, or name it with CHROMIUM=..."

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
