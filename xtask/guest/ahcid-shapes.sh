# Several disks, a CD drive, blocks that fail, and other ways to drive a controller.

. /rig/guest/ahci.sh

MANY=0000:00:04.0
CD=0000:00:05.0
FAULTY=0000:00:06.0
WAYS=0000:00:07.0

if [ "$SUBJECT" = linux ]; then
    load_linux
else
    start_spawner $(ours $MANY $CD $FAULTY) || exit
fi

verified() {
    verify_fio "$1" 16m --iodepth=32 --bsrange=512-128k >"/tmp/fio.$2" 2>&1 || { tail -n 3 "/tmp/fio.$2"; return 1; }
}

four_disks() {
    local port disk jobs=() sizes=""
    for port in 0 1 3 5; do
        wait_for 30 subject_disk $MANY $port || { echo "no disk at port $port"; return 1; }
        disk=$(subject_disk $MANY $port)
        sizes+="$(($(blockdev --getsize64 "$disk") >> 20)) "
        verified "$disk" "$port" &
        jobs+=($!)
    done
    ! subject_disk $MANY 2 >/dev/null || { echo "a disk at an empty port"; return 1; }
    for port in "${jobs[@]}"; do wait "$port" || return 1; done
    echo "$sizes"
    [ "$sizes" = "128 64 128 32 " ]
}

advanced() {
    local disk
    disk=$(subject_disk $MANY 3)
    echo "$(blockdev --getss "$disk") logical, $(blockdev --getpbsz "$disk") physical"
    [ "$(blockdev --getss "$disk")" = 512 ] && [ "$(blockdev --getpbsz "$disk")" = 4096 ]
}

# disc NAME BYTES: what the disc holds, as the host wrote it.
disc() {
    awk -v name="$1" 'BEGIN { for (line = 0; ; line++) print name, line }' 2>/dev/null | head -c "$2"
}

cd_is_read() {
    local disk
    wait_for 30 subject_disk $CD 2 || { echo "no disk"; return 1; }
    disk=$(subject_disk $CD 2)
    disc disc $((16 << 20)) | cmp - "$disk" || return 1
    [ "$(blockdev --getro "$disk")" = 1 ] || { echo "it is not read-only"; return 1; }
    ! dd if=/dev/zero of="$disk" bs=2048 count=1 oflag=direct status=none 2>/dev/null || return 1
    echo "$disk, $(blockdev --getsize64 "$disk") bytes, $(blockdev --getss "$disk") bytes per block"
}

other_disc() {
    local disk
    disk=$(subject_disk $CD 2) || return 1
    [ "$(blockdev --getsize64 "$disk")" = $((8 << 20)) ] && disc other $((8 << 20)) | cmp -s - "$disk"
}

cd_exchanged() {
    host qmp "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"tray\",\"filename\":\"$OTHER_DISC\",\"format\":\"raw\",\"force\":true}}" || return 1
    wait_for 30 other_disc || { echo "$(blockdev --getsize64 "$(subject_disk $CD 2)") bytes"; return 1; }
    echo "8 MiB of the other disc, equal"
}

tray_emptied() {
    host qmp '{"execute":"eject","arguments":{"id":"tray","force":true}}' || return 1
    wait_for 30 no_disc || { echo "the disk is still there"; return 1; }
    daemon_pid $CD
}

no_disc() { ! subject_disk $CD 2 >/dev/null; }

# Sectors 20480 (reading) and 40960 (writing) fail; dd counts in blocks of 4096 bytes.
try_read() { dd if="$DISK" of=/dev/null bs=4k skip="$1" count=1 iflag=direct status=none 2>&1; }
try_write() { dd if=/dev/zero of="$DISK" bs=4k seek="$1" count=1 oflag=direct status=none 2>&1; }

failing_read() {
    local said
    try_read 2559 && try_read 2561 || return 1
    said=$(try_read 2560) && { echo "reading it succeeds"; return 1; }
    grep -q 'Input/output error' <<<"$said" || { echo "$said"; return 1; }
    try_read 2559 && try_read 2561 && echo "block 2560: ${said##*: }; its neighbours read"
}

failing_write() {
    local said
    try_write 5119 && try_write 5121 || return 1
    said=$(try_write 5120) && { echo "writing it succeeds"; return 1; }
    grep -q 'Input/output error' <<<"$said" || { echo "$said"; return 1; }
    try_write 5119 && try_write 5121 && echo "block 5120: ${said##*: }; its neighbours are written"
}

# Each daemon is still the one that was started first.
outlives() {
    local address
    for address in $MANY $CD $FAULTY; do
        daemon_pid "$address" >/dev/null || { echo "none for $address"; return 1; }
        [ "$(starts "$address")" = 1 ] || { echo "$address was restarted"; return 1; }
    done
    try_read 1 && echo "three daemons, each started once"
}

# driven PATTERN OPTION...: a daemon started by hand with these options carries verified data and says so.
driven() {
    local pattern=$1 daemon status
    shift
    to_vfio $WAYS || return 1
    ahcid --device $WAYS "$@" >/tmp/ways 2>&1 &
    daemon=$!
    wait_for 20 daemon_disk $WAYS 0 || { cat /tmp/ways; kill "$daemon"; return 1; }
    verified "$(daemon_disk $WAYS 0)" ways
    status=$?
    ahcid inspect --device $WAYS >/tmp/ways.inspect
    kill -TERM "$daemon"
    wait "$daemon" || { cat /tmp/ways; return 1; }
    grep -E "$pattern" /tmp/ways.inspect && [ "$status" = 0 ]
}

check "four disks of one controller at once" four_disks
check "a disk with 4096-byte physical blocks" advanced
check "a CD is read and is read-only" cd_is_read
check "another CD is put in by QMP" cd_exchanged
if [ "$SUBJECT" != linux ]; then
    check "the tray is emptied by QMP" tray_emptied
fi
wait_for 20 subject_disk "$FAULTY"
DISK=$(subject_disk "$FAULTY") || exit
check "a failing block is EIO to its reader alone" failing_read
check "a failing block is EIO to its writer alone" failing_write
if [ "$SUBJECT" != linux ]; then
    check "INTx instead of MSI" driven 'interrupts +INTx' --interrupts intx
    check "without native command queuing" driven 'queue depth +no queuing' --no-ncq
    check "polled" driven 'interrupts +none: polled' --polled
    check "the daemon outlives the errors" outlives
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
fi
exit 0
