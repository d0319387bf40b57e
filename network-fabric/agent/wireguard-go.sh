#!/bin/sh
# Keeps wireguard-go running while the agent wants it, in a container of its own, so that a dying agent leaves the tunnel
# up. The agent says so by the file `wanted` in the directory that both containers share (memory-backed, also holds the
# device's control socket and key). Needs only a POSIX sh and sleep, rm.
dir=${FLUVIA_WIREGUARD_DIR:-/var/run/wireguard}
device=${FLUVIA_TUNNEL_DEVICE:-fluvia0}
pid=

stop() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
  fi
  rm -f "$dir/$device.sock"
}

trap 'stop; exit 0' TERM INT

# Another value than 1 makes wireguard-go fork itself for ever.
unset WG_PROCESS_FOREGROUND
stop
while :; do
  if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
    wait "$pid" 2>/dev/null
    echo "wireguard-go ended with code $?; starting it again" >&2
    pid=
  fi
  if [ -e "$dir/wanted" ] && [ -z "$pid" ]; then
    # A killed process leaves its socket, which would keep the next from starting.
    rm -f "$dir/$device.sock"
    wireguard-go -f "$device" &
    pid=$!
  elif [ ! -e "$dir/wanted" ] && [ -n "$pid" ]; then
    stop
  fi
  # In the background, so that TERM is handled at once.
  sleep 1 &
  wait $!
done
