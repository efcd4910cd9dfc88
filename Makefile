# Each target is one line onto something readable. `make help` lists them.
.PHONY: help setup build
help:   ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'
setup:  ## virtual environment with pinned packages, then build
	test -x .venv/bin/python || python3 -m venv .venv
	.venv/bin/pip install -q --require-hashes -r requirements.txt
	$(MAKE) build
build:  ## compile what changed
	.venv/bin/pip install -q --no-build-isolation --no-deps -e .
