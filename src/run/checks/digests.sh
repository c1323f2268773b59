# Prints the digest of each file in its arguments, one a line; "-" for what is not a regular file. $1 is the directory for relative paths.
cd -- "$1" || exit
shift
for file; do
    digest=-
    if [ -f "$file" ]; then
        digest=$(sha256sum <"$file" 2>/dev/null) || digest=$(cksum <"$file") || digest=unreadable
    fi
    printf '%s\n' "${digest%% *}"
done
