#!/usr/bin/env bash
# Process 1 of a node: its mounts and its daemons, each in a restart loop with a log of its own. When it dies, the
# kernel ends every process, container and mount of the node with it.
# Environment: NODE_DIR (conf/, log/, state/), NODE_NAME, API (https URL of the cluster's API server), CNI_BIN.
set -u
conf=$NODE_DIR/conf state=$NODE_DIR/state log=$NODE_DIR/log
mount() { command mount -n "$@"; }   # -n: no notes of it in the host's /run/mount
fail() { echo "node-init: $*" >&2; exit 1; }

hostname "$NODE_NAME" || fail hostname
mount --make-rprivate / && mount --make-rshared / || fail "mount propagation"   # kubelet and CSI need shared
mount -t proc proc /proc || fail /proc
mount -t sysfs sysfs /sys || fail /sys       # sysfs shows the network namespace it was mounted in

# cgroups: the namespace shows the node its own sub-group as the root. conf/cgroups: "v2", or a line per v1 hierarchy.
if [ "$(head -n 1 "$conf/cgroups")" = v2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail cgroup2
  mkdir -p /sys/fs/cgroup/init && echo 1 > /sys/fs/cgroup/init/cgroup.procs || fail "cgroup2 init"
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control; done
else
  mount -t tmpfs tmpfs /sys/fs/cgroup || fail "cgroup tmpfs"
  while read -r folder options; do
    mkdir -p "/sys/fs/cgroup/$folder" && mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$folder" || fail "cgroup $options"
  done < "$conf/cgroups"
fi

# Nothing is written to the host's /etc, /var, /opt and /run. What must not lie on an overlay is bound from the node's folder.
mkdir -p "$state"/{etc,var,opt}/{up,work} "$state"/{containerd,kubelet,etcd,sysctl} "$log"
# volatile: no syncing to disk, also not of the whole file system at each unmount (seconds on a busy disk). A killed node's
# files are in the page cache all the same; the mark that it wasn't unmounted has to go.
for folder in etc var opt; do
  rm -rf "$state/$folder/work/work/incompat"
  mount -t overlay overlay -o "volatile,lowerdir=/$folder,upperdir=$state/$folder/up,workdir=$state/$folder/work" "/$folder" || fail "overlay /$folder"
done
mount -t tmpfs tmpfs /run || fail /run
for folder in containerd kubelet; do mkdir -p "/var/lib/$folder" && mount --bind "$state/$folder" "/var/lib/$folder" || fail "/var/lib/$folder"; done
if [ -f "$state/volumes.img" ]; then
  mkdir -p /var/lib/fluvia-volumes
  mount -o loop,noatime "$state/volumes.img" /var/lib/fluvia-volumes || fail "volumes"
fi
mkdir -p /opt/cni/bin /etc/cni/net.d /run/containerd /run/lock
mount --bind "$CNI_BIN" /opt/cni/bin || fail /opt/cni/bin
cp "$conf/10-testbed.conflist" /etc/cni/net.d/
rm -f /etc/resolv.conf; : > /etc/resolv.conf

# kubelet sets these for the whole machine: give it files to write to instead.
fake() {
  echo "$2" > "$state/sysctl/${1//\//_}"
  mount --bind "$state/sysctl/${1//\//_}" "/proc/sys/$1" || fail "$1"
}
fake vm/overcommit_memory 1; fake vm/panic_on_oom 0; fake kernel/panic 10; fake kernel/panic_on_oops 1
fake kernel/keys/root_maxkeys 1000000; fake kernel/keys/root_maxbytes 25000000

daemon() { # name command...
  local name=$1; shift
  ( while :; do
      "$@" >> "$log/$name.log" 2>&1 < /dev/null
      echo "node-init: $name exited $? at $(date -u +%FT%TZ), starting it again" >> "$log/$name.log"
      sleep 1
    done ) &
}
start_all() { local file argv; for file in "$conf/$1"/*; do mapfile -t argv < "$file"; daemon "${file##*/}" "${argv[@]}"; done; }

stop() {
  trap '' TERM
  kill -TERM -1                              # everything of this pid namespace but this process
  for _ in $(seq 50); do
    cat /proc/[0-9]*/comm 2> /dev/null | grep -qxE 'etcd|kube-apiserver|kubelet|containerd' || break
    sleep 0.1
  done
  exit 0
}
trap stop TERM

start_all daemons
( until curl -sfk --max-time 5 "$API/readyz" > /dev/null; do sleep 0.3; done; touch /run/api-answered ) & waiting=$!
touch /run/node-init-ready "$state/booted"
late=no
while :; do
  wait -n
  # only process 1 starts daemons, so that each loop is its own child
  if [ $late = no ] && [ -e /run/api-answered ]; then late=yes; start_all daemons-after-api; fi
  sleep 0.1
done
