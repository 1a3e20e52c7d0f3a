# What people type: each target is a script, which also runs by itself.

.PHONY: help demo test lint format screenshots deb dist bench soak

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

bench: ## all measurements of bench/RESULTS.md, in half an hour
	bench/run

soak: ## half an hour of the worker against random faults
	test/soak/run --minutes 30
