# shellcheck shell=bash
#
# What tests that run on a node (test/cluster/node) share: sourced, never run.
# Exit code and plan: end with `finish`.  $checkout is the checkout, and $pod the
# server's pod.
#
# shellcheck disable=SC2154 # checkout and pod are others'

count=0 failed=0 began=$SECONDS poll=0.3
tap_log=$NODE_DIR/tap standin=$NODE_DIR/standin
mkdir -p "$tap_log"

# check TITLE COMMAND...: a TAP line; the end of the command's output is the reason when it fails
check() {
	local title=$1 verdict=ok began=$SECONDS
	shift
	count=$((count + 1))
	if ! "$@" >"$tap_log/$count" 2>&1 </dev/null; then
		verdict='not ok' failed=$((failed + 1))
	fi
	printf '%s %d - %s (%d s)\n' "$verdict" "$count" "$title" $((SECONDS - began))
	[[ $verdict == ok ]] || { tail -n 40 "$tap_log/$count" | sed 's/^/# /'; false; }
}

# until_true SECONDS COMMAND...: polled; what it said last, if it never is
until_true() {
	local deadline=$((SECONDS + $1)) said
	shift
	until said=$("$@" 2>&1); do
		((SECONDS < deadline)) || { printf 'not within the time: %s\n%s\n' "$*" "$said"; return 1; }
		sleep "$poll"
	done
}

# refused PATTERN COMMAND...: it fails, and says so
refused() {
	local pattern=$1 said
	shift
	if said=$("$@" 2>&1); then printf 'not refused: %s\n%s\n' "$*" "$said"; return 1; fi
	printf '%s\n' "$said"
	grep -qE "$pattern" <<<"$said"
}

# show NAMESPACE/POD...: what there is, for the log of a failure
show() {
	local pod
	kubectl get pods -A -o wide
	kubectl get events -A --sort-by=.lastTimestamp | tail -n 20
	for pod; do kubectl logs -n "${pod%/*}" "${pod#*/}" --tail=30; done
} 2>&1

finish() {
	printf '1..%d\n# %d s\n' "$count" $((SECONDS - began))
	((failed == 0 && count > 0))
	exit
}

# ------------------------------------------------- contratos, and the stand-in

k() { kubectl -n contratos "$@"; }
apply() { kubectl apply --validate=strict "$@"; }

# sql QUERY: in the pod, as the superuser, through the socket
sql() { k exec "$pod" -c postgres -- psql -XqAt -U postgres -d analytics -v ON_ERROR_STOP=1 -c "$1"; }
is_true() { [[ $(sql "$1") == t ]] || { printf 'not true: %s\n' "$1"; sql 'TABLE contratos_runs'; false; }; }

# control METHOD CALL [BODY]: a control call of the stand-in
control() { curl -fsS --max-time 70 -X "$1" "http://10.96.0.53/_control/$2" -d "${3-}"; }

# start_standin_pod: its keys are then in $standin/keys
start_standin_pod() {
	mkdir -p "$standin/keys" "$standin/test" && cp -R "$checkout/test/standin" "$checkout/test/data" "$standin/test/" || return 1
	chown -R 65532:65532 "$standin" && chmod -R u+rwX,go+rX "$standin/test"
	sed "s,@DIR@,$standin," "$checkout/test/cluster/standin.yaml" | apply -f - &&
		kubectl wait -n google --for=condition=Ready pod/standin --timeout=60s
}

# whole DAY: the ledger's rows, the table's, and what BigQuery has
loaded() { is_true "SELECT EXISTS (SELECT FROM contratos_runs WHERE day = '$1' AND status = 'succeeded')"; }
whole() {
	is_true "SELECT count(*) > 0 AND count(*) = (SELECT rows_loaded FROM contratos_runs
		WHERE day = '$1' AND status = 'succeeded' ORDER BY id DESC LIMIT 1)
		FROM tokens WHERE block_timestamp >= '$1Z' AND block_timestamp < '$1Z'::timestamptz + interval '1 day'" &&
		is_true "SELECT bool_and(agrees) FROM contratos_verify('$1', '$1')"
}

# stall KIND: the id of a rule that holds the next answer of this kind in mid body
stall() {
	control POST rule "{\"match\": {\"kind\": \"$1\"}, \"action\": {\"stall\": \"mid_body\"}}" | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'
}
