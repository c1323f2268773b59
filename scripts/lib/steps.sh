# Steps of a long check, each with its time. Sourced, never run.
#
# A step's output is in target/test/NAME.log; a failed step shows the end of it, and the others run on.

steps=${CARGO_TARGET_DIR:-$root/target}/test
mkdir -p "$steps"
rm -f "$steps"/*.log "$steps"/*.status "$steps"/*.cpu "$steps"/left-out "$steps"/unstable

# step NAME COMMAND...: runs a step, shows one line about it, and its output if it fails.
step() {
    local name=$1 started=$SECONDS status=0
    shift
    measured "$@" >"$steps/$name.log" 2>&1 </dev/null || status=$?
    ended "$name" "$status" "$started"
    [ "$status" = 0 ] || tail -n 100 "$steps/$name.log" | sed "s/^/    $name: /"
    return "$status"
}

# step_shown NAME COMMAND...: the same, with its output as it comes.
step_shown() {
    local name=$1 started=$SECONDS status=0
    shift
    printf '\n\033[1m== %s\033[0m\n' "$name"
    # Not a pipe: the lanes that a step starts are this shell's to wait for.
    measured "$@" > >(tee "$steps/$name.log") 2>&1 </dev/null || status=$?
    ended "$name" "$status" "$started"
    return "$status"
}

# Runs the command of a step, and notes the processor time of what it has waited for.
measured() {
    local TIMEFORMAT='%U %S' outputs status=0
    exec {outputs}>&2
    { time "$@" 2>&"$outputs"; } 2>"$steps/$name.cpu" || status=$?
    exec {outputs}>&-
    return "$status"
}

ended() {
    printf '%s %s %s\n' "$2" "$((SECONDS - $3))" "$(awk '{ printf "%d", $1 + $2 }' "$steps/$1.cpu")" >"$steps/$1.status"
    printf '\033[1m== %-16s %4d s  %s\033[0m\n' "$1" "$((SECONDS - $3))" "$([ "$2" = 0 ] && echo ok || echo FAILED)"
}

# Prints the time of each step, that of the processors too, and fails if one has failed.
summary() {
    local file name status seconds cpu failed=0
    printf '\n\033[1m== Steps\033[0m\n'
    for file in "$steps"/*.status; do
        name=$(basename "$file" .status)
        read -r status seconds cpu <"$file"
        [ "$status" = 0 ] || failed=1
        printf '%-18s %5d s  %5d s CPU  %s\n' "$name" "$seconds" "$cpu" "$([ "$status" = 0 ] && echo ok || echo "FAILED, see $steps/$name.log")"
    done
    printf '%-18s %5d s\n' "all, in parallel" "$SECONDS"
    # The reasons once more, where a reader who sees only the end finds them.
    [ "$failed" = 0 ] || failures
    if [ -s "$steps/unstable" ]; then
        printf '\nUnstable:\n'
        sed 's/^/  /' "$steps/unstable"
        [ "$failed" = 1 ] || failures
    fi
    if [ -s "$steps/left-out" ]; then
        printf '\nLeft out:\n'
        sed 's/^/  /' "$steps/left-out"
    fi
    return "$failed"
}

# What the panics of failed tests say, without their backtraces.
failures() {
    local file
    for file in "$steps"/*.log; do
        grep -q ' panicked at ' "$file" || continue
        printf '\n\033[1m== Failures in %s\033[0m\n' "$(basename "$file" .log)"
        sed -n '/^failures:$/,$p' "$file" | awk '
            /^stack backtrace:$/ || /^note: / || /^---- / { shown = 0 }
            / panicked at / { shown = 40 }
            shown-- > 0 { print substr($0, 1, 400) }
        '
    done
}
