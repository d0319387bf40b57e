#!/bin/sh
# Starts a role of Fluvia: fluviad agent|controller|store|mover|fence-wait|ctl. Small heaps: collecting more often is cheaper here than memory.
# Not so for the store: buffers of the bytes that it passes on count against the size at which all is collected, 50 times for each GiB.
case ${1:-} in
  agent) shift; exec /bin/node --max-old-space-size=128 --max-semi-space-size=2 /opt/fluvia/fluviad-agent.mjs "$@" ;;
  controller) shift; exec /bin/node --max-old-space-size=768 --max-semi-space-size=4 /opt/fluvia/fluviad-controller.mjs "$@" ;;
  fence-wait) shift; exec /bin/node --max-old-space-size=32 --max-semi-space-size=1 /opt/fluvia/fluviad-fence-wait.mjs ;;
  store) shift; exec /bin/node --max-old-space-size=256 --initial-old-space-size=128 --max-semi-space-size=1 /opt/fluvia/fluviad-store.mjs "$@" ;;
  mover) shift; exec /bin/node --max-old-space-size=64 --max-semi-space-size=1 /opt/fluvia/fluviad-mover.mjs ;;
  ctl) shift; exec /bin/node /opt/fluvia/fluviactl.mjs "$@" ;;
  *) echo "usage: fluviad agent|controller|store|mover|fence-wait|ctl [ARGS...]" >&2; exit 2 ;;
esac
