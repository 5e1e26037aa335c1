#!/bin/sh
# Starts a container engine for a whole run of tests, or ends it: `engine.sh start FOLDER`, `engine.sh stop FOLDER`. It
# listens on FOLDER/engine.sock alone and has no network. What cannot run here is said, and tests skip by name.
set -eu
folder=$2

start() {
    if [ "$(id -u)" != 0 ] || [ ! -x /usr/sbin/dockerd ]; then
        echo "no container engine for the tests: it needs root and dockerd" >&2
        return 1
    fi
    mkdir -p "$folder"
    /usr/sbin/dockerd --bridge=none --iptables=false --ip-masq=false --host="unix://$folder/engine.sock" \
        --data-root="$folder/data" --exec-root="$folder/exec" --pidfile="$folder/pid" > "$folder/log" 2>&1 &
    echo $! > "$folder/started"
    tries=0
    until /usr/bin/docker --host "unix://$folder/engine.sock" version > /dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$(cat "$folder/started")" 2> /dev/null; then
            echo "no container engine for the tests: dockerd does not answer:" >&2
            tail -n 5 "$folder/log" >&2
            return 1
        fi
        sleep 0.1
    done
}

stop() {
    [ -f "$folder/started" ] || return 0
    pid=$(cat "$folder/started")
    kill "$pid" 2> /dev/null || true
    while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
    rm -rf "$folder"
}

"$1"
