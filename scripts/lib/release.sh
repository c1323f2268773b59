# How a release binary is built: the same options for cargo and for maturin, so that neither compiles again what the other has compiled.
# Sourced after common.sh, never run.

# Sets `cargo_options` for TARGET, and installs what the target needs.
#
# The binary depends on the commit, the versions of the tools and nothing else: a panic names a file by its path inside its package,
# not by its path on the machine that built it, and two builds of one commit have the same hash (scripts/reproduce).
release_options() {
    local target=$1 sources index flags sysroot commit
    if ! rustup target list --installed 2>/dev/null | grep -qx "$target"; then
        rustup target add "$target" >&2
    fi
    cargo fetch --locked --quiet --target "$target" >&2
    sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
    sysroot=$(rustc --print sysroot)/lib/rustlib/src/rust
    commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
    flags="'--remap-path-prefix=$root=', '--remap-path-prefix=$sysroot=/rustc/$commit', "
    for index in "$sources"/*/; do flags+="'--remap-path-prefix=$index=', "; done
    # `cargo test` leaves these to what it starts, and the build script of a dependency runs again when they change.
    unset "${!CARGO_PKG_@}" "${!CARGO_MANIFEST_@}"
    # The time in archives is that of the commit. Build scripts see it too, so every build has to have it.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    cargo_options=(--locked --release --quiet --target "$target" --config "target.$target.rustflags = [$flags]")
}
