#!/bin/sh
# Installs openhands-runner: downloads the archive for this machine, verifies its SHA-256 hash, and puts the program into a folder.
#
#   sh install.sh [--version VERSION] [--to DIR]
#
#   --version VERSION   such as 0.1.0; default: the newest release
#   --to DIR            default: ~/.local/bin
#
# OPENHANDS_RUNNER_BASE_URL names the releases to download from, if they are not those that this script comes from.
set -eu

name=openhands-runner
# scripts/build-release puts the address of the releases in.
releases='@RELEASES@'

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# Prints the target whose binary runs here.
target() {
    case $(uname -s)/$(uname -m) in
        Linux/x86_64 | Linux/amd64) echo x86_64-unknown-linux-musl ;;
        Linux/aarch64 | Linux/arm64) echo aarch64-unknown-linux-musl ;;
        *) fail "there is no binary for $(uname -s) on $(uname -m): build it from source with cargo install $name" ;;
    esac
}

# download URL FILE
download() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1" || fail "cannot download $1"
    elif command -v wget >/dev/null; then
        wget --quiet --tries 3 --output-document "$2" "$1" || fail "cannot download $1"
    else
        fail "neither curl nor wget is installed: install one of them"
    fi
}

# Prints the SHA-256 hash of a file.
hash_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1"
    elif command -v openssl >/dev/null; then
        openssl dgst -sha256 -r "$1"
    else
        fail "no program to verify the download: install sha256sum, shasum or openssl"
    fi | cut -d ' ' -f 1
}

# Runs only once the whole script is read: a download that breaks off starts nothing.
main() {
    version='' folder=''
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --to) [ -n "${2:-}" ] || fail "$1 needs a value" ;;
        esac
        case $1 in
            --version) version=${2#v}; shift 2 ;;
            --to) folder=$2; shift 2 ;;
            -h | --help) echo "usage: sh install.sh [--version VERSION] [--to DIR]"; exit ;;
            *) fail "unknown argument $1: expected --version VERSION or --to DIR" ;;
        esac
    done
    if [ -z "$folder" ]; then
        [ -n "${HOME:-}" ] || fail "HOME is not set: name the folder with --to DIR"
        folder=$HOME/.local/bin
    fi
    base=${OPENHANDS_RUNNER_BASE_URL:-$releases}
    case $base in
        @*) fail "this copy of the script does not know where the releases are: set OPENHANDS_RUNNER_BASE_URL" ;;
    esac

    archive=$name-$(target).tar.gz
    if [ -n "$version" ]; then from=$base/download/v$version; else from=$base/latest/download; fi

    mkdir -p "$folder"
    # Beside the program, so that it can be put in its place in one step.
    made=$(mktemp -d "$folder/.$name.XXXXXX")
    trap 'rm -rf "$made"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    download "$from/$archive" "$made/archive"
    download "$from/$archive.sha256" "$made/hash"
    expected=$(cut -d ' ' -f 1 "$made/hash")
    found=$(hash_of "$made/archive")
    [ "$found" = "$expected" ] || fail "$from/$archive has the SHA-256 hash $found, not $expected: it is damaged or not the release"
    tar -xzf "$made/archive" -C "$made" "$name"
    chmod 0755 "$made/$name"
    shown=$("$made/$name" --version) || fail "the downloaded program does not start on this machine"
    mv -f "$made/$name" "$folder/$name"
    printf 'installed %s as %s\n' "$shown" "$folder/$name"
    case :${PATH:-}: in
        *":$folder:"*) ;;
        *) printf 'add it to the PATH: export PATH="%s:$PATH"\n' "$folder" ;;
    esac
}

main "$@"
