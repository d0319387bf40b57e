#!/bin/sh
# Runs test/kernel/wireguard.ts on a kernel that has WireGuard: Debian's, in QEMU without KVM. About 20 s of boot and a few
# minutes of test on two idle cores; some 90 MB are fetched once. By hand: sh test/kernel/boot.sh
#
# The machine's root file system is this one's, read-only over 9p, under an overlay in memory: nothing here is changed.
set -eu
repo=$(cd "$(dirname "$0")/../.." && pwd)
room=${XDG_CACHE_HOME:-$HOME/.cache}/fluvia/kernel-vm
limit=${1:-900}

if [ ! -e "$room/ready" ]; then
  rm -rf "$room" && mkdir -p "$room/debs" "$room/root" "$room/kernel"
  image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/{print $2; exit}')
  packages=$(apt-get install --no-install-recommends -s --reinstall qemu-system-x86 | awk '/^Inst/{print $2}')
  (cd "$room/debs" && apt-get download $packages "$image" busybox-static)
  for deb in "$room"/debs/*.deb; do
    case $deb in
      */linux-image*) dpkg -x "$deb" "$room/kernel" ;;
      *) dpkg -x "$deb" "$room/root" ;;
    esac
  done
  version=$(ls "$room/kernel/lib/modules")
  box=$room/root/bin/busybox
  ird=$room/initrd
  mkdir -p "$ird/bin" "$ird/sbin" "$ird/proc" "$ird/sys" "$ird/dev" "$ird/host" "$ird/rw" "$ird/new" "$ird/lib/modules/$version"
  cp "$box" "$ird/bin/" && ln -s busybox "$ird/bin/sh" && ln -s /bin/busybox "$ird/sbin/modprobe"
  (
    cd "$room/kernel/lib/modules/$version"
    cp modules.builtin* modules.order "$ird/lib/modules/$version/"
    for part in net crypto arch/x86/crypto lib drivers/virtio drivers/net/wireguard drivers/net/vxlan \
      drivers/net/veth.ko drivers/net/tun.ko fs/9p fs/overlayfs fs/netfs fs/fscache; do
      [ ! -e "kernel/$part" ] || cp --parents -r "kernel/$part" "$ird/lib/modules/$version/"
    done
  )
  "$box" depmod -b "$ird" "$version"
  cat >"$ird/init" <<'INIT'
#!/bin/sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
# crc32c first: what nf_tables needs asks for it by an alias that nothing resolves here
for m in crc32c_generic libcrc32c virtio_pci 9pnet_virtio 9p overlay wireguard veth vxlan nf_tables nft_ct nft_chain_nat nft_nat; do
  $B modprobe $m || echo "no module $m"
done
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /host
$B mount -t tmpfs tmpfs /rw; $B mkdir /rw/up /rw/work
$B mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work overlay /new
# the kernel loads further modules by itself, from its root
$B cp /bin/busybox /new/usr/sbin/modprobe
$B mkdir -p /new/usr/lib/modules; $B cp -a /lib/modules/. /new/usr/lib/modules/
for d in proc sys dev; do $B mkdir -p /new/$d; $B mount --move /$d /new/$d; done
$B mount -t tmpfs tmpfs /new/run; $B mount -t tmpfs tmpfs /new/tmp
repo=$($B sed -n 's/.*fluvia.repo=\([^ ]*\).*/\1/p' /new/proc/cmdline)
exec $B switch_root /new /bin/sh "$repo/test/kernel/guest.sh"
INIT
  chmod +x "$ird/init"
  (cd "$ird" && find . | "$box" cpio -o -H newc 2>/dev/null | gzip -1 >"$room/initrd.gz")
  rm -rf "$ird" "$room/debs"
  touch "$room/ready"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
libraries=$room/root/usr/lib/x86_64-linux-gnu:$room/root/lib/x86_64-linux-gnu
share=$room/root/usr/share
LD_LIBRARY_PATH=$libraries timeout "$limit" "$room/root/usr/bin/qemu-system-x86_64" \
  -L "$share/qemu" -L "$share/seabios" -L "$room/root/usr/lib/ipxe/qemu" \
  -M pc -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m 2048 -nographic -no-reboot -nic none \
  -kernel "$room"/kernel/boot/vmlinuz-* -initrd "$room/initrd.gz" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable fluvia.repo=$repo" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null | tee "$log"
grep -q KERNEL-WIREGUARD-OK "$log"
