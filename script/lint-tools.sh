# shellcheck shell=bash
#
# The pinned formatters, in an environment under .cache/: sourced, after lib.sh.
#
# shellcheck source=script/lib.sh disable=SC2154 # root and cache are lib.sh's

tools=$cache/lint/bin

# lint_tools: make the environment unless it is there
lint_tools() {
	local wanted=$root/script/lint-requirements.txt
	! cmp -s "$wanted" "$cache/lint/made-of" || return 0
	rm -rf "$cache/lint"
	mkdir -p "$cache"
	python3 -m venv "$cache/lint"
	"$tools/pip" install -q --disable-pip-version-check -r "$wanted" >&2
	cp "$wanted" "$cache/lint/made-of"
}
