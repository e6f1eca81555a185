#!/usr/bin/env bash
# ci/nested-kvm.sh - run a command inside a Debian 12 "L1" machine that has a real,
# hardware-style /dev/kvm (kvm_amd on SVM+NPT emulated by QEMU TCG), plus
# vhost_net, tun, bridge, netem, vfio.  Needs no hardware virtualization.
#
#   ci/nested-kvm.sh build                          build (or reuse) the L1 image
#   ci/nested-kvm.sh run [opts] -- CMD [ARG...]     run CMD in L1; exit code is CMD's
#       -i DIR      directory copied to /job in L1 (CMD runs there); its
#                   subdirectory ro/, if any, is not copied but linked, read-only
#       -o DIR      what CMD leaves in $OUT (/out) comes back here
#       -t SECS     wall limit for the whole run (default 600) -> exit 124
#       -m MIB      L1 memory (default 3072)     -s N   L1 CPUs (default 2)
#       -c MODEL    QEMU CPU (default max,+svm,+npt)
#       -I          add an intel-iommu and a spare virtio NIC (VFIO tests)
#       -q 'ARGS'   extra QEMU arguments
#       -l FILE     keep the full L1 console here
# Exit: CMD's status; 124 wall limit; 125 L1 did not boot or died.
#
# QEMU 7.2 hangs L1 in many runs: with a thread for each CPU it can keep running
# code that the kernel has patched meanwhile (docs/kvm.md). Where the installed
# one is older than 10.0, Debian's backport is fetched and unpacked privately.
# NESTED_QEMU names another binary, NESTED_APPEND more of L1's command line.
#
# Host packages: qemu-system-x86 e2fsprogs kmod tar coreutils perl; to build: apt
# and mmdebstrap (fetched and unpacked privately when it is not installed). No root needed.
set -euo pipefail
CACHE=${NESTED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nested-kvm}
SUITE=${NESTED_SUITE:-bookworm}
# package sources: this host's own apt configuration (Debian), or a sources file of yours
SOURCES=${NESTED_SOURCES:-$(for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do [ -f "$f" ] && printf '%s ' "$f"; done; true)}
# what L1 holds; qemu-system-x86+seabios only as a reference L2 VMM
PKGS=${NESTED_PKGS:-libc6,libgcc-s1,bash,coreutils,util-linux,mount,hostname,procps,grep,sed,tar,gzip,kmod,busybox-static,iproute2,iputils-ping,ethtool,pciutils,qemu-system-x86,seabios,linux-image-cloud-amd64}
IMG_MB=${NESTED_IMG_MB:-900}
OUT_MB=${NESTED_OUT_MB:-256}
die(){ echo "nested-kvm.sh: $*" >&2; exit 125; }

# Sets QEMU to the command to run.
choose_qemu(){
  if [ -n "${NESTED_QEMU:-}" ]; then QEMU=("$NESTED_QEMU"); return; fi
  QEMU=(qemu-system-x86_64)
  local v; v=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 10.0 "$v" | sort -V | head -1)" = 10.0 ] && return
  local d=$CACHE/tools/qemu
  [ -x "$d/usr/bin/qemu-system-x86_64" ] || fetch_qemu "$d" || true
  if "$d/usr/bin/qemu-system-x86_64" --version >/dev/null 2>&1; then
    QEMU=("$d/usr/bin/qemu-system-x86_64" -L "$d/usr/share/qemu" -L "$d/usr/share/seabios")
  else
    echo "nested-kvm.sh: QEMU ${v:-?} may hang the machine; no backport of a newer one could be had" >&2
  fi
}
# Unpacks QEMU of this release's backports into a directory.
fetch_qemu(){
  local name mirror; name=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$name" ] || return 1
  # where this machine's own apt gets that release from
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null | sed -n "s/^$name //p" | head -1)
  [ -n "$mirror" ] || return 1
  mkdir -p "$CACHE/tools"
  ( t=$(mktemp -d "$CACHE/tools/fetch.XXXXXX"); trap 'rm -rf "$t"' EXIT; cd "$t"
    mkdir -p lists/partial cache/archives/partial root
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $name-backports main" > sources
    o=(-qq -o Dir::Etc::sourcelist="$t/sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$t/lists" -o Dir::Cache="$t/cache")
    apt-get "${o[@]}" update && apt-get "${o[@]}" -t "$name-backports" download qemu-system-x86 qemu-system-common qemu-system-data seabios || exit 1
    for p in *.deb; do dpkg-deb -x "$p" root || exit 1; done
    root/usr/bin/qemu-system-x86_64 --version >/dev/null || exit 1
    rm -rf "$1"; mv root "$1"
  ) >/dev/null 2>&1
}

le32(){ local i; for i in 0 8 16 24; do printf "\\x$(printf %02x $(($1>>i&255)))"; done; }

build(){
  mkdir -p "$CACHE"
  local key; key=$(printf '%s' "$SUITE $PKGS $IMG_MB $(sed -n '/^build()/,/^L1INIT/p' "$0" | sha256sum)" | sha256sum | cut -c1-16)
  [ -f "$CACHE/$key.ok" ] && { ln -sfn "$key" "$CACHE/current"; return 0; }
  local mm; mm=$(command -v mmdebstrap || true)
  if [ -z "$mm" ]; then
    mkdir -p "$CACHE/tools"
    if [ ! -x "$CACHE/tools/usr/bin/mmdebstrap" ]; then
      ( cd "$CACHE/tools" && apt-get download -qq mmdebstrap 2>/dev/null && dpkg-deb -x mmdebstrap_*.deb . ) || die "cannot get mmdebstrap"
    fi
    mm=$CACHE/tools/usr/bin/mmdebstrap
  fi
  local r=$CACHE/$key.root; rm -rf "$r" "$CACHE/$key"; mkdir -p "$CACHE/$key"
  perl "$mm" --quiet --mode="$([ "$(id -u)" = 0 ] && echo root || echo chrootless)" --variant=extract --architectures=amd64 --format=directory \
    --include="$PKGS" --aptopt='APT::Install-Recommends "false"' \
    --setup-hook='mkdir -p "$1"/usr/bin "$1"/usr/sbin "$1"/usr/lib "$1"/usr/lib64; for d in bin sbin lib lib64; do ln -s usr/$d "$1"/$d; done' \
    "$SUITE" "$r" $SOURCES || die "mmdebstrap failed"
  rm -rf "$r"/usr/share/{doc,locale,man}
  local kv; kv=$(ls "$r/lib/modules" | head -1)
  cp "$r/boot/vmlinuz-$kv" "$CACHE/$key/vmlinuz"; rm -f "$r"/boot/System.map*
  depmod -b "$r" "$kv" 2>/dev/null || PATH=$PATH:/sbin:/usr/sbin depmod -b "$r" "$kv"
  printf 'root:x:0:0:root:/root:/bin/bash\n' > "$r/etc/passwd"; printf 'root:x:0:\nkvm:x:105:\n' > "$r/etc/group"
  printf '127.0.0.1 localhost l1\n' > "$r/etc/hosts"; mkdir -p "$r"/{root,job,out,in,tmp,run,proc,sys,dev}; chmod 1777 "$r/tmp"
  ln -sf bash "$r/usr/bin/sh"
  # busybox fills in what no package above brought (awk, vi, nc, udhcpc, ...)
  for a in $("$r/usr/bin/busybox" --list); do [ -e "$r/usr/bin/$a" ] || [ -e "$r/usr/sbin/$a" ] || ln -s busybox "$r/usr/bin/$a"; done
  l1init > "$r/sbin/l1init"; chmod 755 "$r/sbin/l1init"
  # one MBR partition with a known disk id, so the kernel finds its root by
  # PARTUUID whatever name the disk got (NVMe namespace names are not ordered)
  local img=$CACHE/$key/root.img
  PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -L l1root -O ^has_journal -E offset=1048576,lazy_itable_init=1 -d "$r" "$img" "${IMG_MB}M" >/dev/null || die "mkfs failed"
  truncate -s "$((IMG_MB+2))M" "$img"
  { printf '\x4e\x45\x53\x54\0\0\0\xff\xff\xff\x83\xff\xff\xff\0\x08\0\0'; le32 $((IMG_MB*2048)); } | dd of="$img" bs=1 seek=440 conv=notrunc status=none
  printf '\x55\xaa' | dd of="$img" bs=1 seek=510 conv=notrunc status=none
  rm -rf "$r"; touch "$CACHE/$key.ok"; ln -sfn "$key" "$CACHE/current"
}

#L1INIT-BEGIN: PID 1 of L1
l1init(){ cat <<'L1INIT'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb OUT=/out
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mount -t cgroup2 cg /sys/fs/cgroup 2>/dev/null; ln -sf /proc/self/fd /dev/fd; hostname l1
echo "@@L1 init uptime $(cut -d' ' -f1 /proc/uptime)"
ip link set lo up
for m in kvm_amd kvm_intel; do modprobe -q $m && break; done
modprobe -qa tun vhost_net bridge
# /job is a writable copy of the input image, /out comes back
ns(){ for b in /sys/block/nvme*n*; do [ "$(cat $b/nsid)" = $1 ] && echo /dev/${b##*/}; done; }
for i in 1 2 3 4 5 6 7 8 9; do [ -n "$(ns 2)" ] && [ -n "$(ns 3)" ] && break; sleep 0.3; done
mount -o ro "$(ns 2)" /in && for f in /in/job/*; do
  case ${f##*/} in ro) ln -s "$f" /job/ro;; '*') ;; *) cp -a "$f" /job/;; esac
done
cd /job
if [ -f /in/cmd ]; then bash /in/cmd </dev/null; rc=$?; else rc=125; fi
sync
tar -C /out -cf - . | dd of="$(ns 3)" bs=1M conv=fsync status=none 2>/dev/null || echo "@@L1 output too large"
echo "@@L1 exit $rc uptime $(cut -d' ' -f1 /proc/uptime)"
sync; echo o > /proc/sysrq-trigger; sleep 5; busybox poweroff -f
L1INIT
}

run(){
  local in="" out="" t=600 m=3072 s=2 cpu="max,+svm,+npt" iommu=0 extra="" log=""
  while getopts i:o:t:m:s:c:Iq:l: o; do case $o in
    i) in=$OPTARG;; o) out=$OPTARG;; t) t=$OPTARG;; m) m=$OPTARG;; s) s=$OPTARG;; c) cpu=$OPTARG;;
    I) iommu=1;; q) extra=$OPTARG;; l) log=$OPTARG;; *) exit 2;; esac; done
  shift $((OPTIND-1)); [ "${1:-}" = -- ] && shift; [ $# -gt 0 ] || die "no command"
  build
  choose_qemu
  local d; D=$(mktemp -d "${TMPDIR:-/tmp}/nested.XXXXXX"); d=$D; trap 'rm -rf "$D"' EXIT
  mkdir -p "$d/in/job"; [ -n "$in" ] && cp -a "$in/." "$d/in/job/"
  printf '%q ' "$@" > "$d/in/cmd"; echo >> "$d/in/cmd"
  local mb; mb=$(( $(du -sm "$d/in" | cut -f1) * 5 / 4 + 16 ))
  PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -O ^has_journal -d "$d/in" "$d/in.ext4" "${mb}M" >/dev/null
  truncate -s "${OUT_MB}M" "$d/out.raw"; : > "$d/console"
  # nvme_core.multipath=N: the disks have the same names with every QEMU.
  local args=(-accel tcg,thread=multi -cpu "$cpu" -smp "$s" -m "$m" -nodefaults -no-user-config -display none -no-reboot
    -kernel "$CACHE/current/vmlinuz"
    -append "console=ttyS0 root=PARTUUID=5453454e-01 rootwait rw rootfstype=ext4 init=/sbin/l1init panic=-1 quiet loglevel=4 mitigations=off nowatchdog net.ifnames=0 random.trust_cpu=on tsc=reliable nvme_core.multipath=N${NESTED_APPEND:+ $NESTED_APPEND}$([ $iommu = 1 ] && echo ' intel_iommu=on')"
    -drive "if=none,id=r,file=$CACHE/current/root.img,format=raw,snapshot=on,cache=unsafe"
    -drive "if=none,id=i,file=$d/in.ext4,format=raw,readonly=on"
    -drive "if=none,id=o,file=$d/out.raw,format=raw,cache=unsafe"
    -serial "file:$d/console")
  if [ $iommu = 1 ]; then args+=(-M q35,kernel-irqchip=split -device intel-iommu,intremap=on,caching-mode=on -device virtio-net-pci,netdev=sp,disable-legacy=on,iommu_platform=on -netdev user,id=sp,restrict=on)
  else args+=(-M q35); fi
  args+=(-device nvme,id=n,serial=l1 -device nvme-ns,drive=r,bus=n,nsid=1 -device nvme-ns,drive=i,bus=n,nsid=2 -device nvme-ns,drive=o,bus=n,nsid=3)
  # shellcheck disable=SC2086
  timeout -k 5 "$t" "${QEMU[@]}" "${args[@]}" $extra </dev/null >"$d/qemu.out" 2>&1 &
  local q=$!; tail -n +1 -f --pid=$q "$d/console" 2>/dev/null & local tp=$!
  local qrc=0; wait $q || qrc=$?; wait $tp 2>/dev/null || true
  cat "$d/qemu.out" >&2; [ -n "$log" ] && cp "$d/console" "$log"
  local rc; rc=$(tr -d '\r' < "$d/console" | sed -n 's/^.*@@L1 exit \([0-9]*\) .*/\1/p' | tail -1)
  [ -n "$out" ] && [ -n "$rc" ] && { mkdir -p "$out"; tar -C "$out" --no-same-owner -xf "$d/out.raw" 2>/dev/null || true; }
  [ $qrc = 124 ] && return 124
  [ -n "$rc" ] || return 125
  return "$rc"
}
case ${1:-} in build) build; echo "$CACHE/current";; run) shift; run "$@";; *) sed -n '2,/^[^#]/{/^#/p;}' "$0"; exit 2;; esac
