# Each target is one line onto something readable. `make help` lists them.
.PHONY: help setup build
help:   ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'
build:  ## compile what changed
	.venv/bin/pip install -q --no-build-isolation --no-deps -e .
