# Each target is one line onto something readable. `make help` lists them.
.PHONY: help setup demo test build lint format bench bench-ike fuzz fuzz-ike mutants interop docs pins container fresh killload
KEYS := ike
ROOT := $(shell test "$$(id -u)" = 0 || echo sudo)

help:    ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile
setup:   ## install what is missing (system packages, virtual environment), build
	@deploy/setup demo
demo:    ## set up, then two gateways, real traffic, a table; removes itself. KEYS=manual: without IKE
	@deploy/setup demo && $(ROOT) .venv/bin/xdpsec demo --keys $(KEYS)
test:    ## set up, then every test
	@deploy/setup test && exec .venv/bin/python tests/run
build:   ## compile what changed
	@.venv/bin/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
lint:    ## style, types, warnings; changes nothing
	@tests/lint
format:  ## lay out Python and C as tests/lint wants it
	@.venv/bin/ruff format . && .venv/bin/clang-format -i $$(git ls-files '*.[ch]')
bench:   ## measure; writes build/bench.json
	@deploy/setup bench && $(ROOT) .venv/bin/python tests/bench/run.py
bench-ike: ## what IKE costs, beside strongSwan; writes build/bench-ike.json
	@deploy/setup bench && $(ROOT) env PYTHONPATH=tests .venv/bin/python tests/bench/ike_run.py
fuzz:    ## a million mutated frames
	@exec .venv/bin/python tests/run fuzz
fuzz-ike: ## an hour of what strangers send, under coverage; keeps what it learned
	@for target in ike_codec ike_gate ike_proofs; do .venv/bin/python tests/fuzz/guided.py $$target --seconds 1200 --keep || exit 1; done
mutants: ## break one check at a time; a test named beforehand must fail
	@tests/mutants
interop: ## every row with a Linux kernel, strongSwan and OpenIKED as peers; writes build/interop.json
	@deploy/setup test && exec .venv/bin/python tests/run matrix
docs:    ## write what is generated in docs/
	@.venv/bin/python docs/generate.py && .venv/bin/python docs/generate_seen.py
killload: ## workers killed under full load, with a watch on the wan; takes minutes
	@deploy/setup test && $(ROOT) .venv/bin/python -m pytest -q -s -p no:cacheprovider --timeout 0 tests/netns/kill_load.py
container: ## the steps of deploy/container in a Debian root; takes minutes
	@$(ROOT) tests/container
fresh:   ## this tree's last commit, set up in a Debian root that has nothing; takes minutes
	@$(ROOT) tests/fresh setup
pins:    ## renew requirements.txt from requirements.in
	@deploy/pins
