#!/usr/bin/env bash
# Records what the interactive chat looks like in a real terminal: types lines into `bantam run MODEL` and saves the screen.
#
#   tools/record_chat.sh [-w COLUMNS] [-h ROWS] [-e] [-o FILE] COMMAND… < lines
#
# COMMAND is run in a terminal of its own, for example `target/release/bantam run model.gguf`. Each line of standard input
# is typed and followed by Enter once the screen has come to rest; a line `^C` presses Ctrl-C, `^D` Ctrl-D, and `~ 2` waits
# two seconds, whether the screen rests or not (to interrupt an answer). -e keeps colours as escape sequences. Without -o
# the screen goes to standard output. Needs tmux; uses a server of its own and ends only that.
set -euo pipefail

columns=100 rows=40 output='' colours=()
while getopts 'w:h:eo:' flag; do
    case $flag in
        w) columns=$OPTARG ;;
        h) rows=$OPTARG ;;
        e) colours=(-e) ;;
        o) output=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -eq 0 ]; then
    echo "usage: $0 [-w COLUMNS] [-h ROWS] [-e] [-o FILE] COMMAND… < lines" >&2
    exit 2
fi
command -v tmux >/dev/null || { echo "error: tmux is not installed" >&2; exit 1; }

server="bantam-record-$$"
settings=$(mktemp)
in_tmux() { tmux -L "$server" -f "$settings" "$@"; }
trap 'in_tmux kill-server 2>/dev/null || true; rm -f "$settings" "${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)/$server"' EXIT
# The pane stays when the command has ended, so that its last words can be read; lines that scroll off are kept.
printf '%s\n' 'set -g remain-on-exit on' 'set -g history-limit 10000' 'set -g default-terminal tmux-256color' >"$settings"

screen() { in_tmux capture-pane -p "$@" -t recording; }
alive() { [ "$(in_tmux display-message -p -t recording '#{pane_dead}' 2>/dev/null || echo 1)" = 0 ]; }

# Waits until the screen has not changed for a second (two minutes at most), or the command has ended.
rest() {
    local before now still=0 waited=0
    before=$(screen)
    while [ "$still" -lt 5 ] && [ "$waited" -lt 600 ] && alive; do
        sleep 0.2
        now=$(screen)
        if [ "$now" = "$before" ]; then still=$((still + 1)); else still=0; fi
        before=$now
        waited=$((waited + 1))
    done
}

printf -v command '%q ' "$@"
in_tmux new-session -d -s recording -x "$columns" -y "$rows" "exec $command"
rest

mapfile -t lines
for index in "${!lines[@]}"; do
    alive || break
    line=${lines[$index]} next=${lines[$((index + 1))]:-}
    case $line in
        '~ '*) sleep "${line#\~ }"; continue ;;
        '^C') in_tmux send-keys -t recording C-c ;;
        '^D') in_tmux send-keys -t recording C-d ;;
        *)
            in_tmux send-keys -t recording -l -- "$line"
            in_tmux send-keys -t recording Enter
            ;;
    esac
    # What is to be interrupted is not waited for.
    [[ $next == '~ '* ]] || rest
done

rest
save() { if [ -n "$output" ]; then cat >"$output"; else cat; fi; }
# From the first line that scrolled off to the last that is not empty; tmux's own note on an ended command is left out.
screen "${colours[@]}" -S - | grep -v '^Pane is dead' | sed -e :a -e '/^[[:space:]]*$/{$d;N;ba' -e '}' | save
