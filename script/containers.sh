# shellcheck shell=bash
#
# Container images for tests, by podman: sourced, after lib.sh and roots.sh.
#
# Everything that podman keeps is elsewhere than this machine's own: images in the
# cache, where they are only built, one at a time; containers, volumes and
# networks of a run in its work folder, over these images.  Call these functions
# inside in_namespace only, where /run is empty at first, so that nothing of a
# run that was killed is taken for running.
#
# shellcheck source=script/lib.sh disable=SC2154 # root, cache and work are others'
# shellcheck source=script/roots.sh disable=SC2154

containers=${roots%/roots}/containers
containers_packages=(podman buildah runc netavark aardvark-dns uidmap iptables)

# release_of MAJOR: the Debian release that has this PostgreSQL
release_of() {
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo sid ;;
		*) warn "no Debian release has PostgreSQL $1"; return 1 ;;
	esac
}

# podman_settings DIR STORAGE RUN [OPTION]: podman's configuration in DIR; its
# files in STORAGE, its state in RUN
podman_settings() {
	local dir=$1 storage=$2 run=$3 option=${4-}
	mkdir -p "$dir" "$storage" "$run"
	cat >"$dir/storage.conf" <<-END
		[storage]
		driver = "overlay"
		graphroot = "$storage"
		runroot = "$run/storage"
		[storage.options]
		$option
	END
	# Of runtimes runc, as Debian's crun refuses cgroups of both versions at once;
	# limits that a root without CAP_SYS_RESOURCE may set.
	cat >"$dir/containers.conf" <<-END
		[containers]
		default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
		[engine]
		runtime = "runc"
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		lock_type = "file"
		tmp_dir = "$run/libpod"
		[network]
		network_backend = "netavark"
		network_config_dir = "$run/networks"
	END
	# no registry is ever asked
	echo 'unqualified-search-registries = []' >"$dir/registries.conf"
}

# use_settings DIR: for podman, and whatever calls it
use_settings() {
	export CONTAINERS_CONF=$1/containers.conf CONTAINERS_STORAGE_CONF=$1/storage.conf CONTAINERS_REGISTRIES_CONF=$1/registries.conf
	# what a build needs where it may not make namespaces; health checks are Docker's
	export BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
}

# containers_setup: podman for this run
containers_setup() {
	local resolve
	install_packages "${containers_packages[@]}"
	resolve=$(cat /etc/resolv.conf)
	mount -t tmpfs -o mode=755 tmpfs /run
	if [[ ! -e /etc/resolv.conf ]]; then # it was in /run
		install -D /dev/stdin "$(readlink -m /etc/resolv.conf)" <<<"$resolve"
	fi
	mkdir -p "$containers"
	exec 8>"$containers/.users"
	flock -s 8
	podman_settings /run/images.conf "$containers/images" /run/images
	podman_settings /run/podman.conf "$work/containers" /run/podman "additionalimagestores = [\"$containers/images\"]"
	use_settings /run/podman.conf
}

# in_store COMMAND...: with the images of the cache as those that are changed
in_store() {
	(
		flock 9
		use_settings /run/images.conf
		"$@" 9>&-
	) 9>"$containers/.lock"
}

# image_label IMAGE LABEL
image_label() { podman image inspect --format "{{index .Labels \"$2\"}}" "$1" 2>/dev/null; }

# stand_in TARGET IMAGE ROOT RELEASE PACKAGES [OPTION...]: unless there is one
# of the same: an image by test/image/Containerfile, from a root with the packages
stand_in() {
	local target=$1 image=$2 name=$3 release=$4 packages=$5 of
	shift 5
	# shellcheck disable=SC2086 # several
	make_root "$name" "$release" $packages || return 1
	of=$({ cat "$made.made-of" "$root/test/image/Containerfile" "$root/test/image/docker-entrypoint.sh"; stat -c %Y "$made.made-of"; } | sha256sum)
	[[ $(in_store image_label "$image" made-of) != "${of%% *}" ]] || return 0
	in_store import_root "localhost/root-$name" || return 1
	in_store podman build --quiet --pull=never --network=host --target "$target" --label made-of="${of%% *}" \
		--build-arg ROOT="localhost/root-$name" "$@" -t "$image" -f "$root/test/image/Containerfile" "$root/test/image" >/dev/null
}

import_root() {
	tar -C "$made" --exclude='./dev/*' --exclude='./proc/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/cache/apt/*.bin' -cf - . |
		podman import --quiet - "$1" >/dev/null
}

# base_image MAJOR: the stand-in for the official image of PostgreSQL
base_image() {
	local release volume=/var/lib/postgresql data=/var/lib/postgresql/$1/docker
	release=$(release_of "$1") || return 1
	(($1 >= 18)) || volume=/var/lib/postgresql/data data=/var/lib/postgresql/data
	stand_in postgres "docker.io/library/postgres:$1" "$release-postgres" "$release" "postgresql-$1" \
		--build-arg PG_MAJOR="$1" --build-arg VOLUME="$volume" --build-arg DATA="$data"
}

# build_image TARGET IMAGE [MAJOR [CHECKOUT]]: contratos or extension, from
# $work/src or another checkout, by the command that a user has
build_image() {
	local build
	build=(env CONTAINER_ENGINE=podman IMAGE_OPTIONS='--pull=never --network=host' PG_MAJOR="${3:-18}" "${4:-$work/src}/script/image")
	# the stage that both are made of gets a name, so that it is not pruned
	in_store "${build[@]}" build "localhost/contratos-build:${2##*:}" &&
		in_store "${build[@]}" "$1" "$2"
}

# save_images FILE IMAGE...: into one archive, for another container engine
save_images() {
	local file=$1
	shift
	rm -f "$file"
	in_store podman save --quiet --multi-image-archive -o "$file" "$@"
}

# containers_end: stop and remove what this run has; before the work folder goes
containers_end() {
	podman rm --all --force --time 0 >/dev/null 2>&1
	podman network prune --force >/dev/null 2>&1
	# what builds have left, unless another run may be using it
	if flock -n 8; then in_store podman image prune --force >/dev/null 2>&1; fi
	exec 8>&-
}
