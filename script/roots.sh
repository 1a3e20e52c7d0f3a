# shellcheck shell=bash
#
# Debian roots, made by mmdebstrap and kept in the cache: sourced, after lib.sh.
#
# What needs one runs inside in_namespace: what it mounts and starts is gone
# with it, whatever it ends by, before its work folder is removed from outside.
# So no removal ever meets a mount.  Nothing of this machine's /dev is mounted
# anyway: the roots have device nodes of their own.  Needs root, or sudo.
#
# shellcheck source=script/lib.sh disable=SC2154 # root is lib.sh's

roots=${CONTRATOS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/contratos}/roots
# days after which a root is made anew
roots_age=30

# shellcheck disable=SC2034 # of whom sources this
# what a package is built, checked and packed with
build_packages=(build-essential debhelper lintian libcurl4-openssl-dev libjansson-dev libssl-dev pkgconf
	postgresql-all postgresql-server-dev-all pgxnclient rpm unzip)

# in_namespace NAME [ARG...]: unless it is so already, run this script again
# with ARGs, as root, with a work folder (the checkout's files in its src),
# mounts and processes of its own, and end as it ends
in_namespace() {
	local status=0 name=$1
	sudo=()
	shift
	if [[ -n ${CONTRATOS_NAMESPACE-} ]] && (($$ == 1)); then
		work=$CONTRATOS_NAMESPACE
		return
	fi
	if ((EUID != 0)); then
		command -v sudo >/dev/null || die 'needs root, to make and enter a root of Debian'
		sudo=(sudo '--preserve-env=CONTRATOS_CACHE,XDG_CACHE_HOME,HOME,OUT,KEEP,PACKAGES,CONTRATOS_ZIP')
	fi
	is_debian || die 'needs Debian or Ubuntu, whose mmdebstrap makes the roots'
	install_packages mmdebstrap debian-archive-keyring iproute2 util-linux
	work=$(mktemp -d "/tmp/contratos-$name.XXXXXX")
	chmod 755 "$work"
	# however the other one ends: then no mount of its is left
	trap '"${sudo[@]}" rm -rf --one-file-system "$work"' EXIT
	copy_owner=root copy_checkout # now: to another user's git, root is a stranger
	"${sudo[@]}" unshare --mount --pid --fork --kill-child --mount-proc env CONTRATOS_NAMESPACE="$work" "$0" "$@" || status=$?
	exit $status
}

# make_root NAME RELEASE PACKAGE...: sets $made to the folder $roots/NAME,
# a minimal RELEASE with these packages
make_root() {
	local name=$1 release=$2 wanted
	shift 2
	made=$roots/$name wanted="$release $*"
	mkdir -p "$roots"
	# two at once would both make it
	exec 9>"$roots/.lock-$name"
	flock 9
	if [[ $(cat "$made.made-of" 2>/dev/null) != "$wanted" || -n $(find "$made.made-of" -mtime "+$roots_age") ]]; then
		rm -rf --one-file-system "$made" "$made.made-of"
		# unstable's mirrors may be older than their index admits
		mmdebstrap --quiet --mode=root --variant=minbase --skip=cleanup/apt/lists \
			--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
			${1:+--include="$(IFS=,; echo "$*")"} "$release" "$made" >"$made.log" 2>&1 ||
			{ tail -n 20 "$made.log" >&2; rm -rf --one-file-system "$made"; return 1; }
		printf '%s\n' "$wanted" >"$made.made-of"
	fi
	exec 9>&-
}

# clean_root DIR: the root in $made at DIR; what is written to DIR stays out of the cache
clean_root() {
	local over=$1.over
	mkdir -p "$1" "$over/upper" "$over/work"
	mount -t overlay overlay -o "lowerdir=$made,upperdir=$over/upper,workdir=$over/work" "$1" 2>/dev/null ||
		cp -a "$made/." "$1/" # no overlay on an overlay, as in a container
	mount -t proc proc "$1/proc"
	mount -t tmpfs tmpfs "$1/dev/shm"
	mount -t tmpfs tmpfs "$1/tmp"
	cp /etc/resolv.conf "$1/etc/resolv.conf"
}

# in_root DIR COMMAND...: as root, with nothing of this environment but proxies
in_root() {
	local dir=$1
	shift
	chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+http_proxy="$http_proxy"} "$@"
}

# offline_in_root DIR COMMAND...: with a loopback of its own and no other network
offline_in_root() {
	# shellcheck disable=SC2016
	unshare --net bash -c 'ip link set lo up && . "$1" && . "$2" && shift 2 && in_root "$@"' \
		- "$root/script/lib.sh" "$root/script/roots.sh" "$@"
}
