# Prints what has changed in the repositories of the working directory $1: the patch to stdout, and to stderr "= PATH" for each repository
# with the status of its files and then their lines below; "! PATH" before it if git could not read everything in it. The other arguments are pairs of a commit
# and a path: what was there at the beginning.
command -v git >/dev/null || exit 0
work=$1
shift
temporary=$(mktemp -d) || exit
trap 'rm -rf "$temporary"' EXIT

run() {
    git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.quotePath=false \
        -c core.autocrlf=false -c diff.noprefix=false "$@"
}

# The commit of a repository at the beginning; of a clone that came later the cloned one, of a new one none.
beginning() {
    path=$1
    shift
    while [ $# -gt 1 ]; do
        [ "$2" != "$path" ] || { printf '%s' "$1"; return; }
        shift 2
    done
    if [ -n "$(run remote 2>/dev/null)" ]; then
        run rev-list -g HEAD 2>/dev/null | tail -n 1
    fi
}

for folder in "$work" "$work"/*; do
    [ -e "$folder/.git" ] || continue
    cd "$folder" || continue
    commit=$(beginning "$folder" "$@")
    case $commit in
        '' | -) commit=$(run hash-object -t tree /dev/null) ;;
    esac
    # New objects and the index stay out of the agent's repository.
    objects=$(run rev-parse --git-path objects) && index=$(run rev-parse --git-path index) || continue
    mkdir "$temporary/objects"
    if [ -e "$index" ]; then cp "$index" "$temporary/index"; fi
    (
        # A repository in a repository has a part of its own.
        set -- .
        for child in *; do
            [ ! -e "$child/.git" ] || set -- "$@" ":(exclude)$child"
        done
        GIT_ALTERNATE_OBJECT_DIRECTORIES=$(cd "$objects" && pwd)
        GIT_OBJECT_DIRECTORY=$temporary/objects
        GIT_INDEX_FILE=$temporary/index
        export GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_OBJECT_DIRECTORY GIT_INDEX_FILE
        # One file that cannot be read, or a repository in it without a commit, must not hide all other changes.
        run add --ignore-errors -A -- "$@" 2>/dev/null || printf '! %s\n' "$folder" >&2
        printf '= %s\n' "$folder" >&2
        run diff --cached -M --name-status "$commit" -- "$@" >&2
        run diff --cached -M --numstat --no-ext-diff --no-textconv "$commit" -- "$@" >&2
        name=${folder#"$work"}
        name=${name#/}
        run diff --cached --no-renames --binary --full-index --no-color --no-ext-diff --no-textconv \
            --src-prefix="a/${name:+$name/}" --dst-prefix="b/${name:+$name/}" "$commit" -- "$@"
    )
    rm -rf "$temporary/objects" "$temporary/index"
done
exit 0
