# shellcheck shell=bash
#
# What script/test, script/demo and script/lint share: sourced, never run.
#
# PostgreSQL refuses to run as root, and root's checkout may be in a folder
# nobody else can enter.  So everything is built and run in a work folder that
# belongs to an unprivileged user, from a copy of the checkout, against a copy
# of the PostgreSQL installation: neither the checkout nor the system's
# PostgreSQL is ever written to.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# runuser is there, and not on everybody's PATH
PATH=$PATH:/usr/sbin:/sbin
cache=${CONTRATOS_CACHE:-$root/.cache}
# the newest first
supported_versions='18 17 16 15'

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { warn "$*"; exit 1; }

# ------------------------------------------------------------------- packages

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# missing_packages PACKAGE...: those that dpkg does not have
missing_packages() {
	local p
	for p; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || printf '%s ' "$p"
	done
}

# install_packages PACKAGE...: as root, or through sudo; else say what to do
install_packages() {
	local missing sudo=() get
	read -ra missing < <(missing_packages "$@") || true
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		command -v sudo >/dev/null || die "please install as root: apt-get install ${missing[*]}"
		sudo=(sudo)
	fi
	say "Installing ${missing[*]} (Debian packages)"
	mkdir -p "$cache"
	get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
	if ! "${get[@]}" install -y --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1; then
		# a fresh machine has no package lists yet
		{ "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "${missing[@]}"; } \
			>"$cache/apt.log" 2>&1 || die "apt-get install failed, see $cache/apt.log"
	fi
}

# install_clang: with its sanitizers, whose runtime is a package of clang's version
install_clang() {
	install_packages clang
	install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

# debian_version: the PostgreSQL version to use: the newest supported one that
# is installed, else the distribution's
debian_version() {
	local v
	for v in $supported_versions; do
		[[ ! -x /usr/lib/postgresql/$v/bin/postgres ]] || { printf '%s\n' "$v"; return; }
	done
	v=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p')
	[[ " $supported_versions " == *" $v "* ]] || die "this distribution's PostgreSQL is ${v:-missing}; 15 to 18 are supported"
	printf '%s\n' "$v"
}

# name_packages: what to install where there is no apt
name_packages() {
	cat >&2 <<-'TEXT'
		Needed: PostgreSQL 15 to 18 with its development files, a C compiler, make, pkg-config,
		libcurl, jansson and OpenSSL with their development files, Python 3.9 or newer, Perl.
		  Debian, Ubuntu: apt-get install postgresql postgresql-server-dev-all gcc make pkg-config
		                  libcurl4-openssl-dev libjansson-dev libssl-dev openssl python3 perl
		                  libipc-run-perl
		  Fedora:         dnf install postgresql-server postgresql-server-devel postgresql-contrib gcc make
		                  pkgconf libcurl-devel jansson-devel openssl-devel python3 perl perl-IPC-Run
		  Arch:           pacman -S postgresql base-devel curl jansson openssl python perl perl-ipc-run
		  macOS:          brew install postgresql@17 pkgconf curl jansson openssl@3 python perl
		                  (and put postgresql@17's bin folder on PATH)
		Then, if pg_config is not on PATH, set PG_CONFIG.
	TEXT
}

# published_at: the web address of the project: HOMEPAGE, or the remote `origin`
# where that is at one (https://HOST/PATH, or git@HOST:PATH)
published_at() {
	local address=${HOMEPAGE-}
	[[ -n $address ]] || address=$(git -C "$root" remote get-url origin 2>/dev/null | sed -nE 's,^(ssh://)?git@([^:/]+)[:/],https://\2/,; s,\.git/?$,,; /^https:/p')
	# never with a user or a token in it
	sed -E 's,^(https://)[^/@]*@,\1,' <<<"$address"
}

# need_build: PostgreSQL, compiler and libraries; sets PG_CONFIG
need_build() {
	local version tool library
	mkdir -p "$cache"
	if is_debian; then
		install_packages gcc make pkg-config libcurl4-openssl-dev libjansson-dev libssl-dev openssl python3 perl
		if [[ -z ${PG_CONFIG-} ]]; then
			version=$(debian_version)
			install_packages "postgresql-$version" "postgresql-server-dev-$version"
			PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config
		fi
	fi
	: "${PG_CONFIG:=$(command -v pg_config || true)}"
	for tool in cc make pkg-config openssl python3 perl "${PG_CONFIG:-pg_config}"; do
		command -v "$tool" >/dev/null || { name_packages; die "$tool is missing"; }
	done
	for library in libcurl jansson openssl; do
		pkg-config --exists "$library" || { name_packages; die "$library's development files are missing"; }
	done
	[[ -r $("$PG_CONFIG" --pgxs) ]] || { name_packages; die "$PG_CONFIG has no PGXS: PostgreSQL's development files are missing"; }
	[[ " $supported_versions " == *" $(server_major) "* ]] || die "$("$PG_CONFIG" --version) is not supported; 15 to 18 are"
}

server_major() { "$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'; }

# ---------------------------------------------------------- who runs, and where

# test_user: the unprivileged user that everything runs as
test_user() {
	if ((EUID != 0)); then
		id -un
	elif id -u postgres >/dev/null 2>&1; then
		printf 'postgres\n'
	else
		die "PostgreSQL does not run as root, and there is no user postgres: run this as another user"
	fi
}

# as_user COMMAND...: run it as that user, in the current folder if he may
as_user() {
	if ((EUID != 0)); then
		"$@"
	elif command -v runuser >/dev/null; then
		HOME=$work runuser -u "$(test_user)" -- "$@"
	else
		HOME=$work sudo -u "$(test_user)" --preserve-env=HOME -- "$@"
	fi
}

# make_work NAME: sets $work, a new folder of that user's.  Short: a unix
# socket's path has 107 bytes at most.
make_work() {
	work=$(mktemp -d "/tmp/contratos-$1.XXXXXX")
	((EUID != 0)) || chown "$(test_user)" "$work"
	chmod 755 "$work"
}

# copy_checkout: the files of the checkout, what is ignored left out, to $work/src;
# where root runs this they become that unprivileged user's, or $copy_owner's
copy_checkout() {
	mkdir -p "$work/src"
	if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$root" && git ls-files -z --cached --others --exclude-standard |
			while IFS= read -rd '' f; do [[ ! -e $f ]] || printf '%s\0' "$f"; done |
			tar -c --null -T - -f -)
	else
		tar -C "$root" --exclude=./.cache --exclude=./.demo --exclude=./.git -cf - .
	fi | tar -x -C "$work/src" -f -
	((EUID != 0)) || chown -R "${copy_owner:-$(test_user)}" "$work/src"
	chmod -R u+rwX,a+rX "$work/src"
}

# private_postgres: copy the installation of PG_CONFIG to $work/pg and point
# PG_CONFIG there: its programs find everything relative to themselves.  Where
# the layout is one that cannot be moved, PG_CONFIG stays: installed in place.
private_postgres() {
	local version bin tree config
	version=$(server_major)
	bin=$("$PG_CONFIG" --bindir)
	mkdir -p "$work/pg"
	if [[ $bin == "/usr/lib/postgresql/$version/bin" ]]; then
		for tree in "/usr/lib/postgresql/$version" "/usr/share/postgresql/$version" /usr/include/postgresql; do
			mkdir -p "$work/pg$(dirname "$tree")"
			cp -a "$tree" "$work/pg$(dirname "$tree")/"
		done
		config=$work/pg$bin/pg_config
	elif [[ $bin == */bin && $(dirname "$bin") != /usr && $(dirname "$bin") != /usr/local &&
		$("$PG_CONFIG" --pkglibdir) == "$(dirname "$bin")"/* &&
		$("$PG_CONFIG" --sharedir) == "$(dirname "$bin")"/* ]]; then
		cp -a "$(dirname "$bin")" "$work/pg/tree"
		config=$work/pg/tree/bin/pg_config
	fi
	if [[ -n ${config-} && $("$config" --pkglibdir) == "$work/pg/"* ]] &&
		"$(dirname "$config")/postgres" --version >/dev/null 2>&1 && "$(dirname "$config")/initdb" --version >/dev/null 2>&1; then
		PG_CONFIG=$config
		chmod -R a+rX "$work/pg"
		((EUID != 0)) || chown -R "$(test_user)" "$work/pg"
	else
		rm -rf "$work/pg"
		warn "$bin cannot be copied: the extension is installed in place"
	fi
	bindir=$("$PG_CONFIG" --bindir)
}

# build: make and install what lies in $work/src.  No bitcode: compiling all
# once more, for a JIT that nothing here asks for.
build() {
	local log=$work/build.log install=(as_user)
	[[ -w $("$PG_CONFIG" --pkglibdir) && $PG_CONFIG == "$work"/* ]] || install=()
	{
		as_user make -s -C "$work/src" -j2 with_llvm=no PG_CONFIG="$PG_CONFIG" &&
			"${install[@]}" make -s -C "$work/src" with_llvm=no PG_CONFIG="$PG_CONFIG" install
	} >"$log" 2>&1
}

# ------------------------------------------------------------------- a cluster

# free_port: one that nobody listens on just now
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_cluster DIR PORT [SETTING...]: a new cluster DIR/data that is reached
# through the socket folder DIR and 127.0.0.1, owned by the unprivileged user
start_cluster() {
	local dir=$1 port=$2 setting
	shift 2
	as_user mkdir -p "$dir"
	(cd "$dir" && as_user "$bindir/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-locale -N \
		>"$work/initdb.log" 2>&1) || { tail -n 20 "$work/initdb.log" >&2; return 1; }
	{
		printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $port" \
			"unix_socket_directories = '$dir'" 'fsync = off' "logging_collector = off"
		for setting; do printf '%s\n' "$setting"; done
	} | as_user tee -a "$dir/data/postgresql.conf" >/dev/null
	(cd "$dir" && as_user "$bindir/pg_ctl" -s -w -D "$dir/data" -l "$dir/log" start) ||
		{ tail -n 20 "$dir/log" >&2; return 1; }
}

stop_cluster() {
	[[ ! -e $1/data/postmaster.pid ]] || (cd "$1" && as_user "$bindir/pg_ctl" -s -w -m immediate -D "$1/data" stop)
}

# --------------------------------------------------------------- the stand-in

# start_standin DIR OPTION...: a BigQuery whose certs and ready.json are in DIR
start_standin() {
	local dir=$1 deadline=$((SECONDS + 180)) poll=0.1
	shift
	# its own output, or whoever reads ours would wait for it to end
	# shellcheck disable=SC2016
	as_user bash -c 'dir=$1 server=$2; shift 2; echo $$ >"$dir/standin.pid"
		exec python3 "$server" --certs "$dir/certs" --ready-file "$dir/ready.json" "$@"' \
		- "$dir" "$work/src/test/standin/server.py" --token-tls "$@" </dev/null >"$dir/standin.log" 2>&1 &
	disown
	until [[ -e $dir/ready.json ]]; do
		((SECONDS < deadline)) || { tail -n 20 "$dir/standin.log" >&2; return 1; }
		sleep "$poll"
	done
}

stop_standin() {
	local pid
	[[ -e $1/standin.pid ]] || return 0
	pid=$(<"$1/standin.pid")
	# a number may by now be another process's
	! ps -o args= -p "$pid" 2>/dev/null | grep -qF "$1/" || kill "$pid"
}
