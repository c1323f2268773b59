# shellcheck shell=sh
# Ends the command whose folder is $1, and everything that it has started, within 6 s. The caller removes the folder.
# The processes of a command are its process group. Without a group, they are the processes that write into its files.
pid=$(cat "$1/pid" 2>/dev/null) || pid=

# Prints the targets for `kill`: the group as a negative number, or processes.
targets() {
  if kill -s 0 -- "-$pid" 2>/dev/null; then
    echo "-$pid"
    return
  fi
  kill -s 0 "$pid" 2>/dev/null && echo "$pid"
  for process in /proc/[0-9]*; do
    if [ "$process/fd/1" -ef "$1/stdout" ] || [ "$process/fd/2" -ef "$1/stderr" ]; then
      echo "${process#/proc/}"
    fi
  done
}

# Waits 3 s at most; whether nothing is left.
is_over() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    [ -n "$(targets "$1")" ] || return 0
    sleep 0.2
  done
  return 1
}

if [ -n "$pid" ]; then
  for signal in TERM KILL; do
    all=$(targets "$1")
    [ -n "$all" ] || break
    # shellcheck disable=SC2086 # One word for each target.
    kill -s "$signal" -- $all 2>/dev/null
    is_over "$1" && break
  done
fi
