# shellcheck shell=bash
#
# What runs in a root that has the package: sourced, from its /tmp, where the
# stand-in is, too.
#
# shellcheck disable=SC2154 # version is whose sources this

as_postgres=(setpriv --reuid postgres --regid postgres --init-groups) # and not runuser, which a signal does not pass

# sql STATEMENT [DATABASE]
sql() { "${as_postgres[@]}" psql -XAt -v ON_ERROR_STOP=1 -d "${2-postgres}" -c "$1"; }

# until_true SQL: polled, for three minutes
until_true() {
	local deadline=$((SECONDS + 180)) poll=0.2
	until [[ $(sql "$1") == t ]]; do
		((SECONDS < deadline)) || { printf 'not true: %s\n' "$1"; return 1; }
		sleep "$poll"
	done
}

# start_standin: sets $port; it and the cluster end with this script
start_standin() {
	local deadline=$((SECONDS + 180)) poll=0.2
	mkdir -p standin
	rm -f standin/ready.json
	chown -R postgres: standin test
	"${as_postgres[@]}" python3 test/standin/server.py --certs /tmp/standin --token-tls --ready-file /tmp/standin/ready.json \
		--dense-ends 2026-11-21 >standin.log 2>&1 &
	standin=$!
	trap 'kill $standin; pg_ctlcluster "$version" main stop -m immediate 2>/dev/null || true' EXIT
	until [[ -e standin/ready.json ]]; do
		((SECONDS < deadline)) || { cat standin.log; exit 1; }
		sleep "$poll"
	done
	port=$(python3 -c 'import json; print(json.load(open("/tmp/standin/ready.json"))["https_port"])')
}

# settings NOW: of the cluster, whose worker asks the stand-in
settings() {
	cat >"/etc/postgresql/$version/main/conf.d/test.conf" <<-END
		shared_preload_libraries = 'contratos'
		contratos.databases = 'postgres'
		contratos.endpoint = 'https://localhost:$port'
		contratos.ca_file = '/tmp/standin/ca.pem'
		contratos.credentials_file = '/tmp/standin/key.json'
		contratos.now = '$1'
	END
}

# loaded DAY: the worker has loaded it
loaded() {
	until_true "SELECT EXISTS (SELECT FROM contratos_runs WHERE day = '$1' AND status = 'succeeded' AND cause IN ('schedule', 'catchup'))" ||
		{ sql 'TABLE contratos_runs'; tail -n 30 "/var/log/postgresql/postgresql-$version-main.log"; return 1; }
}
