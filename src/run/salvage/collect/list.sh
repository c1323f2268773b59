# Prints "SIZE ./PATH" for each file in the working directory $1 that lies below one of the other arguments, paths relative to it. Links
# are not followed, and what git keeps for itself is left out.
cd "$1" || exit
shift
for base in "$@"; do
    [ ! -e "./$base" ] || find "./$base" -name .git -prune -o -type f -exec stat -c '%s %n' {} +
done
exit 0
