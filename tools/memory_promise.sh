#!/usr/bin/env bash
# Shows that the memory promise holds: runs a model in a control group whose limit is exactly what `bantam show` promised
# for that context, with the context filled, and prints the peak. Needs root and a memory control group (version 1 or 2).
#
#   tools/memory_promise.sh MODEL [CONTEXT] [BANTAM]
set -euo pipefail
model=$1 context=${2:-4096} bantam=${3:-target/release/bantam}

promise=$("$bantam" show "$model" --json --context "$context" | python3 -c 'import json, sys; print(json.load(sys.stdin)["memory"]["total"])')
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/bantam-promise-$$ limit=memory.max peak=memory.peak
else
    group=/sys/fs/cgroup/memory/bantam-promise-$$ limit=memory.limit_in_bytes peak=memory.max_usage_in_bytes
fi
text=$(mktemp)
mkdir "$group"
trap 'sleep 0.2; rmdir "$group"; rm -f "$text"' EXIT
echo "$promise" > "$group/$limit"

# A prompt that leaves room for 16 tokens: words are dropped until it fits.
words=$context
while :; do
    python3 -c 'import sys; print(*["a", "b", "c", "d"] * (int(sys.argv[1]) // 4), end="")' "$words" > "$text"
    tokens=$("$bantam" tokenize "$model" --ids < "$text" | wc -w)
    [ "$tokens" -le "$((context - 17))" ] && break
    words=$((words - (tokens - context + 17) / 2 - 4))
done

# The run itself: the whole context is used, in the group.
status=0
(
    echo "$BASHPID" > "$group/cgroup.procs"
    exec "$bantam" run "$model" --raw --temperature 0 --context "$context" --max-tokens 16 --json --file "$text" ""
) > /dev/null < /dev/null || status=$?
echo "promised $promise bytes at a context of $context; prompt of $tokens tokens and 16 more;" \
    "peak in the group $(cat "$group/$peak") bytes; exit status $status"
