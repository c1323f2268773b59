# Prints "COMMIT PATH" for each git repository in the working directory $1 and in its folders; "-" is no commit.
command -v git >/dev/null || exit 0
for folder in "$1" "$1"/*; do
    [ -e "$folder/.git" ] || continue
    commit=$(git -c safe.directory='*' -C "$folder" rev-parse -q --verify HEAD 2>/dev/null) || commit=-
    printf '%s %s\n' "$commit" "$folder"
done
