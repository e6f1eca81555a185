#!/usr/bin/busybox sh
# Process 1 of a vmm guest. Forks cost a million guest instructions each, so
# shell builtins do what they can and nothing is started before it is needed.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM=linux
bb=/usr/bin/busybox
[ -e /usr/bin/ls ] || $bb --install -s /usr/bin
$bb mount -a
read -r cmdline </proc/cmdline

agent= modules=
for word in $cmdline; do
  case $word in
  vmm.agent=*) agent=${word#*=} ;;
  vmm.modules=*) modules=${word#*=} ;;
  esac
done
read -r name 2>/dev/null </etc/hostname && echo "$name" >/proc/sys/kernel/hostname

# Drivers: virtio only where a virtio PCI function (vendor 1af4) exists.
IFS=,
load=
for word in $modules; do load="$load $word"; done
unset IFS
for dev in /sys/bus/pci/devices/*/vendor; do
  vendor=
  read -r vendor 2>/dev/null <"$dev"
  [ "$vendor" = 0x1af4 ] && load="virtio_pci virtio_net $load" && break
done
case $cmdline in *vmm.agent=hvc* | *vmm.agent=vport* | *console=hvc*) load="virtio_console $load" ;; esac
[ -n "$load" ] && $bb modprobe -a $load

# Network interfaces, one per line of /etc/vmm/nics: MAC NAME ADDRESS/PREFIX MTU,
# "-" for what is not set.
find_nic() { # MAC -> $nic
  for nic in /sys/class/net/*; do
    mac=
    read -r mac 2>/dev/null <"$nic/address"
    if [ "$mac" = "$1" ]; then
      nic=${nic##*/}
      return 0
    fi
  done
  return 1
}
netmask() { # PREFIX -> $mask
  m=$((0xffffffff ^ ((1 << (32 - $1)) - 1)))
  mask=$((m >> 24 & 255)).$((m >> 16 & 255)).$((m >> 8 & 255)).$((m & 255))
}
configure() { # MAC NAME ADDRESS/PREFIX MTU
  tries=0
  until find_nic "$1"; do
    tries=$((tries + 1))
    if [ $tries -gt 40 ]; then
      echo "vmm: no network interface with address $1 for $2"
      return
    fi
    $bb usleep 50000
  done
  if [ "$nic" != "$2" ]; then
    [ -e "/sys/class/net/$2" ] && $bb ip link set dev "$2" name "vmm$tries$nic"
    $bb ip link set dev "$nic" name "$2"
  fi
  mtu=$4
  [ "$mtu" = - ] && mtu=
  case $3 in
  -) $bb ifconfig "$2" ${mtu:+mtu $mtu} up ;;
  *:*)
    $bb ifconfig "$2" ${mtu:+mtu $mtu} up
    $bb ip addr add "$3" dev "$2"
    ;;
  *)
    netmask "${3#*/}"
    $bb ifconfig "$2" "${3%/*}" netmask $mask ${mtu:+mtu $mtu} up
    ;;
  esac
}
$bb ifconfig lo 127.0.0.1 up
if [ -e /etc/vmm/nics ]; then
  while read -r mac name address mtu; do
    [ -n "$name" ] && configure "$mac" "$name" "${address:--}" "${mtu:--}"
  done </etc/vmm/nics
fi

if [ -z "$agent" ]; then
  for agent in ttyAMA1 ttyS1 hvc0 ''; do [ -c "/dev/$agent" ] && break; done
fi
start_agent() {
  (. /usr/lib/vmm/agent) &
  agent_pid=$!
}
agent_pid=
[ -n "$agent" ] && start_agent

# A shell on the console, started by its first line of input.
(
  $bb mkdir -p /dev/pts /dev/shm
  $bb mount -t devpts devpts /dev/pts
  while :; do
    echo "vmm: press Enter for a shell on this console"
    read -r line </dev/console || $bb sleep 5
    $bb setsid $bb cttyhack $bb sh -l </dev/console >/dev/console 2>&1
  done
) &

# busybox's poweroff, halt and reboot signal process 1.
trap '$bb poweroff -f' USR2
trap '$bb halt -f' USR1
trap '$bb reboot -f' TERM
while :; do
  wait $agent_pid
  $bb sleep 1
  [ -n "$agent_pid" ] && start_agent
done
