# shellcheck shell=sh
# Becomes the command whose folder is $1: its script runs with the standard streams in the folder's files.
echo $$ >"$1/pid"
# Older agent-servers give a command no process group of its own. `setsid` does, and keeps the process id.
# shellcheck disable=SC2034 # The fields before the group are skipped.
read -r pid name state parent group rest <"/proc/$$/stat"
own=
if [ "$group" != $$ ] && command -v setsid >/dev/null; then
  own=setsid
fi
input=/dev/null
if [ -e "$1/stdin" ]; then
  input=$1/stdin
fi
# shellcheck disable=SC2086 # Without setsid there is no word.
exec $own sh "$1/script" >"$1/stdout" 2>"$1/stderr" <"$input"
