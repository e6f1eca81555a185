# The guest's end of the command channel; see the agent module for the
# protocol. Sourced by /init in a subshell of its own. $agent is the device.
[ -c "/dev/$agent" ] || return 1
exec 3>&1
exec <>"/dev/$agent" >&0 2>&3
$bb stty raw -echo
dir=/run/vmm
[ -d $dir ] || $bb mkdir -p $dir

hello() {
  read -r up idle </proc/uptime
  printf '\n@vmm R 1 %s\n' "$up"
}

# Kills every process of the running command's session, its leader first, and
# looks again until none is left: a process may fork while the list is read.
slay() {
  sid=
  read -r sid 2>/dev/null <$dir/pid
  [ -n "$sid" ] || return
  kill -9 "$sid" 2>/dev/null
  for pass in 1 2 3 4 5 6 7 8; do
    found=
    for stat in /proc/[0-9]*/stat; do
      line=
      read -r line 2>/dev/null <"$stat"
      set -- ${line##*) } # state, parent, group, session
      if [ "$4" = "$sid" ] && [ "$1" != Z ]; then
        found=1
        pid=${stat#/proc/}
        kill -9 "${pid%/stat}" 2>/dev/null
      fi
    done
    [ -n "$found" ] || return
  done
}

# run ID TOKEN BLOCKS: at most BLOCKS * 64 KiB of output go back.
run() {
  out=$dir/output.$1
  printf '\n@vmm S %s\n' "$1"
  cd /root
  $bb setsid /bin/sh $dir/command </dev/null >"$out" 2>&1 3>&- &
  echo $! >$dir/pid
  wait $! 2>/dev/null
  code=$?
  echo >$dir/pid
  printf '\n@vmm O %s %s\n' "$1" "$2"
  [ -s "$out" ] && $bb dd if="$out" bs=64k count="$3" 2>/dev/null
  printf '\n@vmm E %s %s %s\n' "$1" "$2" "$code"
  printf '' >"$out" # frees the memory without a fork
}

hello
while :; do
  read -r mark verb id token blocks length || $bb sleep 1
  [ "$mark" = @vmm ] || continue
  case $verb in
  X | B)
    if [ $verb = X ]; then
      IFS= read -r line
      printf '%b' "$line" >$dir/command
    else
      $bb dd bs="$length" count=1 iflag=fullblock of=$dir/command 2>/dev/null
    fi
    # Process 1 becomes its parent: a dying child of this shell would make
    # ash forget the part of a line that it has read.
    (run "$id" "$token" "$blocks" 2>/dev/null &)
    ;;
  K) slay ;;
  H) hello ;;
  P)
    printf '\n@vmm P\n'
    $bb poweroff -f
    ;;
  esac
done
