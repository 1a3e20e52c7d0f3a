# shellcheck shell=bash
#
# What tests that run on a node (test/cluster/node) share: sourced, never run.
# Exit code and plan: end with `finish`.

count=0 failed=0 began=$SECONDS poll=0.3
tap_log=$NODE_DIR/tap
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
