# shellcheck shell=bash
#
# A server in which the extension runs under AddressSanitizer and
# UndefinedBehaviorSanitizer of gcc: sourced, after lib.sh.
#
# shellcheck source=script/lib.sh disable=SC2154 # what is not set here is lib.sh's

# What postgres is told, and why, is in test/sanitizers.  PostgreSQL is built
# with -fwrapv, under which no signed overflow is an error: not so here.
sanitizers='-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-wrapv -O1 -g -fno-omit-frame-pointer'

# can_sanitize: or print a TAP plan that says why not
can_sanitize() {
	[[ $(uname -s) == Linux ]] && cc -fsanitize=address,undefined -shared -o /dev/null -x c - </dev/null 2>/dev/null &&
		[[ $(cc -print-file-name=libasan.so) == /* ]] && return
	printf '1..0 # SKIP AddressSanitizer and a server need Linux and gcc with its sanitizers\n'
	return 1
}

# sanitized_server: builds what lies in $work/src with the sanitizers and installs it
# into the copy that PG_CONFIG is of, whose postgres then runs with them
sanitized_server() {
	local library
	COPT=$sanitizers build || { say 'error: the extension does not build:'; tail -n 30 "$work/build.log"; return 1; }
	for library in libasan.so libubsan.so; do
		as_user ln -sf "$(readlink -f "$(cc -print-file-name="$library")")" "$bindir/$library" || return 1
	done
	as_user mkdir -p "$bindir/reports" &&
		as_user cc -shared -fPIC -O1 -g -I"$("$PG_CONFIG" --includedir-server)" -o "$bindir/server.so" "$work/src/test/sanitizers/server.c" &&
		{ [[ -e $bindir/postgres.plain ]] || as_user mv "$bindir/postgres" "$bindir/postgres.plain"; } &&
		as_user cp "$work/src/test/sanitizers/postgres" "$bindir/postgres"
}

# sanitizer_reports: a test that no process has written one, whatever became of
# the tests during which it did
sanitizer_reports() {
	local report reports=()
	for report in "$bindir"/reports/report.*; do
		[[ ! -s $report ]] || reports+=("$report")
	done
	while IFS= read -r report; do
		reports+=("$report")
	done < <(grep -rlE 'runtime error:|AddressSanitizer' --include='*.log' "$work/src/test/tmp_check/log" 2>/dev/null)
	if ((${#reports[@]} == 0)); then
		printf 'ok - the sanitizers have found nothing\n'
		return
	fi
	printf 'not ok - the sanitizers have found nothing\n'
	for report in "${reports[@]}"; do
		say "error: $report"
		grep -E -m 1 -A 30 'runtime error:|AddressSanitizer' "$report" | sed 's/^/# /'
	done
	return 1
}
