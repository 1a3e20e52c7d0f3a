#!/usr/bin/env bash
#
# docker-entrypoint.sh - the part of the official image's contract that contratos
# relies on: POSTGRES_USER, _PASSWORD, _DB, also as _FILE, and POSTGRES_INITDB_ARGS;
# the scripts of docker-entrypoint-initdb.d, once, by a server that only they
# reach, with the command's settings; not root afterwards, nor needed at first.

set -euo pipefail

# from_file NAME DEFAULT: $NAME, or what is in the file $NAME_FILE
from_file() {
	local file=${1}_FILE
	[[ -z ${!1-} || -z ${!file-} ]] || { echo "error: both $1 and $file are set" >&2; exit 1; }
	if [[ -n ${!file-} ]]; then
		printf -v "$1" %s "$(<"${!file}")"
	else
		printf -v "$1" %s "${!1:-$2}"
	fi
	export "${1?}"
	unset "$file"
}

initialize() {
	from_file POSTGRES_PASSWORD ''
	from_file POSTGRES_USER postgres
	from_file POSTGRES_DB "$POSTGRES_USER"
	[[ -n $POSTGRES_PASSWORD ]] || { echo 'Error: Database is uninitialized and superuser password is not specified.' >&2; exit 1; }
	local file psql=(psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc)
	# shellcheck disable=SC2086 # as many as there are
	initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${POSTGRES_INITDB_ARGS-}
	printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
	PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}" -c listen_addresses='' -p 5432)" -w start
	[[ $POSTGRES_DB == postgres ]] || "${psql[@]}" -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
			*.sh) "$file" ;;
			*.sql) "${psql[@]}" -d "$POSTGRES_DB" -f "$file" ;;
		esac
	done
	pg_ctl -D "$PGDATA" -m fast -w stop
	echo 'PostgreSQL init process complete; ready for start up.'
}

[[ ${1:0:1} != - ]] || set -- postgres "$@"
if [[ $1 == postgres ]]; then
	mkdir -p "$PGDATA"
	chmod 0700 "$PGDATA" || :
	if ((EUID == 0)); then
		chown -R postgres "$PGDATA"
		exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
	fi
	[[ -s $PGDATA/PG_VERSION ]] || initialize "$@"
fi
exec "$@"
