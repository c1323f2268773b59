# Shared by the scripts: where things are, and Python environments that are made once. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${CARGO_TARGET_DIR:-$root/target}/python

# The newest agent-server that the tests and measurements use; tests/support has the same.
newest_agent_server=1.58.2

# The resolver that installs the locked environments; pinned like everything else.
uv_version=0.13.9

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints where the program COMMAND is. As root on Debian, installs PACKAGE... (default: COMMAND) if it is missing.
debian_program() {
    if ! command -v "$1" && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "${@:$(($# > 1 ? 2 : 1))}" >&2 && command -v "$1"
    fi
}

# Prints a Python 3.12 or 3.13, the versions that the agent-server runs on.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.12 python3.13 python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "no Python 3.12 or 3.13 found. Install one (Debian: apt install python3.12 python3.12-venv; or pyenv install 3.12),
  or name it: PYTHON=/path/to/python3.12 scripts/$(basename "$0")"
}

# Makes the environment NAME from scripts/locks/NAME.txt, once, and prints its folder.
python_environment() {
    local name=$1 lock=$root/scripts/locks/$1.txt venv=$cache/$1 python
    [ -f "$lock" ] || die "no lock file for $name; there are: $(cd "$root/scripts/locks" && ls -- *.txt | sed 's/\.txt$//' | tr '\n' ' ')"
    mkdir -p "$cache"
    (
        # Two tests may ask at once.
        flock 9
        if ! cmp -s "$lock" "$venv/installed.txt"; then
            python=$(find_python) || exit 1
            if [ ! -x "$cache/uv-$uv_version/bin/uv" ]; then
                "$python" -m venv "$cache/uv-$uv_version" >&2 || die "$python cannot make environments: install its venv module"
                "$cache/uv-$uv_version/bin/python" -m pip install --quiet "uv==$uv_version" >&2
            fi
            printf 'Installing %s into %s (once)\n' "$name" "${venv#"$root"/}" >&2
            rm -rf "$venv"
            "$cache/uv-$uv_version/bin/uv" venv --quiet --python "$python" "$venv" >&2
            # Nothing is compiled here: a server imports a quarter of its files, and its first start keeps what Python compiles for it.
            VIRTUAL_ENV=$venv "$cache/uv-$uv_version/bin/uv" pip install --quiet --no-deps --requirements "$lock" >&2
            cp "$lock" "$venv/installed.txt"
        fi
    ) 9>"$cache/$name.lock" || return 1
    printf '%s\n' "$venv"
}
