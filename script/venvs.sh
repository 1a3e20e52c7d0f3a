# shellcheck shell=bash
#
# Python environments that are kept in the cache: sourced, after lib.sh.
#
# shellcheck source=script/lib.sh disable=SC2154 # cache is lib.sh's
kept=${CONTRATOS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/contratos}

# find_python: the Python 3.11 that requirements were frozen with, by its own path
find_python() {
	local p
	for p in /usr/bin/python3.11 python3.11 "$HOME"/.pyenv/versions/3.11*/bin/python3.11; do
		# a pyenv shim may be there without a 3.11 behind it, and Debian's without venv
		p=$(command -v "$p") || continue
		p=$("$p" -c 'import ensurepip, sys; print(sys.executable if sys.version_info[:2] == (3, 11) else "")' 2>/dev/null) || continue
		[[ -z $p ]] || { printf '%s\n' "$p"; return; }
	done
	return 1
}

# make_venv NAME REQUIREMENTS: what the file asks for, nothing added; sets $venv.
# Another content of the file is another environment.
make_venv() {
	local python key
	python=$(find_python) || { printf 'needs Python 3.11 with venv (python3.11-venv, or pyenv install 3.11)\n'; return 1; }
	key=$({ "$python" -V; cat "$2"; } | sha256sum | cut -c 1-12)
	venv=$kept/venv/$1-$key
	mkdir -p "$kept/venv"
	(
		flock 9
		[[ ! -e $venv/.complete ]] || exit 0
		rm -rf "$venv"
		"$python" -m venv "$venv" &&
			"$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$2" &&
			"$venv/bin/pip" check -q --disable-pip-version-check &&
			touch "$venv/.complete"
	) 9>"$kept/venv/.lock-$1"
}
