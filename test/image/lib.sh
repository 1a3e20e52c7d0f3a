# shellcheck shell=bash
#
# What the tests of container images share: sourced, after script/containers.sh.
#
# shellcheck disable=SC2154 # root and work are lib.sh's and roots.sh's

count=0 failed=0
# what the stand-in listens on in each network that it is in
standin_port=8443

# check TITLE COMMAND...: the end of the command's output is the reason when it fails
check() {
	local title=$1 verdict=ok began=$SECONDS
	shift
	count=$((count + 1))
	if ! "$@" >"$work/$count.log" 2>&1 </dev/null; then
		verdict='not ok' failed=$((failed + 1))
	fi
	printf '%s %d - %s (%d s)\n' "$verdict" "$count" "$title" $((SECONDS - began))
	[[ $verdict == ok ]] || { tail -n 40 "$work/$count.log" | sed 's/^/# /'; false; }
}

# within SECONDS COMMAND...: polled until it succeeds; then what it said last
within() {
	local deadline=$((SECONDS + $1)) poll=0.3
	shift
	until "$@" >"$work/said" 2>&1; do
		((SECONDS < deadline)) || { printf 'not within the time: %s\n' "$*"; cat "$work/said"; return 1; }
		sleep "$poll"
	done
	cat "$work/said"
}

# is WHAT WANTED COMMAND...: the command prints this
is() {
	local what=$1 wanted=$2 got
	shift 2
	got=$("$@") || { printf '%s: exit code %d\n' "$what" $?; return 1; }
	[[ $got == "$wanted" ]] || { printf '%s: %s, not %s\n' "$what" "$got" "$wanted"; return 1; }
}

# standin_files: keys and certificates of the stand-in, in $work/standin, and in
# $work/secrets as a container gets them: a key that its server's user owns
standin_files() {
	mkdir -p "$work/secrets"
	python3 "$work/src/test/standin/certs.py" "$work/standin" --token-uri "https://localhost:$standin_port/token" || return 1
	install -m 0400 -o 999 -g 999 "$work/standin/key.json" "$work/secrets/contratos-key.json"
	install -m 0444 "$work/standin/ca.pem" "$work/secrets/ca.pem"
	(umask 077 && echo "it's \"secret\"" >"$work/secrets/postgres-password")
	chown 999:999 "$work/secrets/postgres-password"
	# as a person would set it, but for the day that it is
	cat >"$work/secrets/settings.sql" <<-END
		ALTER SYSTEM SET contratos.endpoint = 'https://localhost:$standin_port';
		ALTER SYSTEM SET contratos.ca_file = '/run/test/ca.pem';
		ALTER SYSTEM SET contratos.retry_delay = '1s';
		ALTER SYSTEM SET contratos.now = '2026-11-21 09:00:00+00';
	END
}

# standin_in NETWORK-NAMESPACE: the stand-in on its loopback, until this ends
standin_in() {
	local ready=$work/standin/ready-${1//\//_}
	nsenter --net="$1" python3 "$work/src/test/standin/server.py" --certs "$work/standin" --ready-file "$ready" --token-tls \
		--https-port "$standin_port" --dense-ends 2026-11-20 >"$work/standin.log" 2>&1 </dev/null 8>&- &
	within 60 test -e "$ready"
}

# psql_in CONTAINER DATABASE SQL...
psql_in() {
	local container=$1 database=$2 sql arguments=()
	shift 2
	for sql; do arguments+=(-c "$sql"); done
	podman exec "$container" psql -XAtq -v ON_ERROR_STOP=1 -d "$database" "${arguments[@]}"
}

# says_true CONTAINER DATABASE SQL
says_true() { [[ $(psql_in "$@" 2>&1 | tee /dev/stderr) == t ]]; }

# the_day_is_loaded CONTAINER DATABASE: by the worker, and every check is good
the_day_is_loaded() {
	within 60 says_true "$1" "$2" "SELECT EXISTS (SELECT FROM contratos_runs WHERE day = '2026-11-20' AND status = 'succeeded' AND cause IN ('schedule', 'catchup'))" ||
		{ psql_in "$1" "$2" 'TABLE contratos_runs'; podman logs --tail 30 "$1"; return 1; }
	psql_in "$1" "$2" "SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-20Z'" 'SELECT check_name, status, found FROM contratos_check()'
	says_true "$1" "$2" "SELECT count(*) > 50 FROM tokens WHERE block_timestamp >= '2026-11-20Z'" &&
		says_true "$1" "$2" "SELECT count(*) = 0 FROM contratos_check() WHERE status = 'failed'"
}
