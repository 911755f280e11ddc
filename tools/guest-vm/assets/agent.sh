#!/usr/bin/dash
# Runs the commands that come in on the port $1. One request is a line `NUMBER SECONDS COMMAND`, the command with
# blanks, backslashes and what is not ASCII as `\0` and three octal digits; its answer is a line `done NUMBER STATUS OUT
# ERR` and then OUT bytes of standard output and ERR bytes of standard error. `put NUMBER BLOCKS SIZE PATH`, followed by
# BLOCKS blocks of 4096 bytes, writes the first SIZE bytes of them to a file.
exec 3<>"$1"
printf 'ready %s\n' "$(cat /proc/sys/kernel/random/boot_id)" >&3
while read -r number limit command size path <&3; do
    if [ "$number" = put ]; then
        number=$limit
        dd bs=4096 count="$command" iflag=fullblock of="$path" <&3 2>/run/agent.err && truncate -s "$size" "$path"
        status=$?
        : >/run/agent.out
    else
        # Each program that is started here is paid for with every command, by thousands, on an emulated processor.
        printf %b "$command" >/run/agent.command
        setsid timeout -k 2 "$limit" /usr/bin/dash /run/agent.command </dev/null >/run/agent.out 2>/run/agent.err 3>&- &
        group=$!
        wait "$group"
        status=$?
        # Ended by the time limit, a command may leave children behind.
        [ "$status" -lt 128 ] || kill -9 "-$group" 2>/dev/null
    fi
    if [ -s /run/agent.out ] || [ -s /run/agent.err ]; then
        # Two words: the sizes.
        printf 'done %s %s %s %s\n' "$number" "$status" $(stat -c %s /run/agent.out /run/agent.err) >&3
        cat /run/agent.out /run/agent.err >&3
    else
        printf 'done %s %s 0 0\n' "$number" "$status" >&3
    fi
done
