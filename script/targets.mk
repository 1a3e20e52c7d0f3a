# What people type: each target is a script, which also runs by itself.

.PHONY: help demo test lint format screenshots deb dist image up watch stop bench fuzz soak coverage

help: ## this list
	@printf '  %-30s %s\n' make 'build; then make install, and make installcheck against a running server'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' script/targets.mk | while IFS="$$(printf '\t')" read -r target text; do \
		printf '  %-30s %s\n' "make $$target" "$$text"; done

demo: ## a week of tokens, without a key; script/demo --stop ends it
	script/demo

test: ## every suite; SUITES='lint tap' for some, SUITES=--all for those that take long, too
	script/test $(SUITES)

lint: ## what can be said about the code without running it
	script/lint

format: ## lay out the C code
	script/format

screenshots: ## the pictures in docs/
	script/screenshots

deb: ## Debian packages, built and tried; RELEASES='bookworm sid' for some; needs root
	script/deb $(RELEASES)

dist: ## dist/contratos-X.Y.Z.zip, as PGXN wants it
	script/dist

image: ## container images, by docker, podman or buildah; PG_MAJOR=17 for another version
	script/image

up: ## contratos in a container, by compose.yaml
	script/compose up

watch: ## the same with an exporter and Prometheus
	script/compose watch

stop: ## ends these; the data stay
	script/compose stop

bench: ## all measurements of bench/RESULTS.md, in half an hour
	bench/run

fuzz: ## SECONDS=60 of each fuzzer of test/fuzz
	script/fuzz $(SECONDS)

soak: ## half an hour of the worker against random faults
	test/soak/run --minutes 30

coverage: ## the lines of src/ that the tests execute
	script/coverage
