# virtio block devices with and without what virtio leaves open, and blocks that fail.

. /rig/guest/block.sh
. /rig/guest/virtio-blk.sh

FAULTY=0000:00:12.0
RESIZED=0000:00:11.0

if [ "$SUBJECT" = linux ]; then
    modprobe virtio_blk
else
    start_spawner || exit
fi

# shape SLOT WORD...: the disk appears, carries verified data, and the daemon has, or (-WORD) has not, what the words say.
shape() {
    local address=0000:00:$1.0 disk word report
    shift
    wait_for 60 subject_disk "$address" || { echo "no disk"; return 1; }
    disk=$(subject_disk "$address")
    verify_fio "$disk" 12m --iodepth=16 --bsrange="${RANGE:-512-64k}" --numjobs="${JOBS:-1}" \
        --offset_increment=12m >/tmp/fio 2>&1 || { tail -n 3 /tmp/fio; return 1; }
    if [ "$SUBJECT" != linux ]; then
        report=$(virtio-blkd inspect --device "$address") || return 1
        for word in "$@"; do
            case $word in
            -*) grep -E '^  (features|queues|interrupts) ' <<<"$report" | grep -qw -e "${word#-}" && { echo "has $word"; return 1; } ;;
            *) grep -E '^  (features|queues|interrupts|read-only) ' <<<"$report" | grep -qw -e "$word" || { echo "has no $word"; return 1; } ;;
            esac
        done
        grep -E '^  queues ' <<<"$report" | sed 's/  */ /g'
    else
        blockdev --getsize64 "$disk"
    fi
}

big_blocks() {
    local disk
    RANGE=4k-64k shape 10 split || return 1
    disk=$(subject_disk 0000:00:10.0)
    [ "$(blockdev --getss "$disk")" = 4096 ] && [ "$(blockdev --getpbsz "$disk")" = 8192 ] || return 1
    # A part of a block must be refused.
    ! dd if=/dev/zero of="$disk" bs=512 count=1 oflag=direct status=none 2>/dev/null
}

four_queues() { JOBS=4 shape 0c split "4, split"; }

read_only() {
    local disk said
    wait_for 60 subject_disk 0000:00:13.0 || return 1
    disk=$(subject_disk 0000:00:13.0)
    dd if="$disk" of=/dev/null bs=64k count=16 iflag=direct status=none || return 1
    said=$(dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct status=none 2>&1) && { echo "writing succeeds"; return 1; }
    echo "$said"
    [ "$(blockdev --getro "$disk")" = 1 ]
}

size_is() {
    local disk
    disk=$(subject_disk "$RESIZED") && [ "$(blockdev --getsize64 "$disk")" = "$1" ]
}

# Nobody uses the disk: it takes the new size, and what was beyond its old end can be used.
resized() {
    local pid disk
    wait_for 60 size_is $((64 << 20)) || { echo "no disk of 64 MiB"; return 1; }
    [ "$SUBJECT" = linux ] || pid=$(daemon_pid "$RESIZED")
    host qmp '{"execute":"block_resize","arguments":{"node-name":"resized","size":134217728}}' || return 1
    wait_for 20 size_is $((128 << 20)) || { echo "the size does not follow"; return 1; }
    disk=$(subject_disk "$RESIZED")
    verify_fio "$disk" 16m --offset=96m --bs=4k --iodepth=16 >/tmp/fio 2>&1 || { tail -n 3 /tmp/fio; return 1; }
    [ "$SUBJECT" = linux ] || [ "$(daemon_pid "$RESIZED")" = "$pid" ] || { echo "the daemon was restarted"; return 1; }
    echo "$disk has $(blockdev --getsize64 "$disk") bytes"
}

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
    local slot
    for slot in 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13; do
        daemon_pid "0000:00:$slot.0" >/dev/null || { echo "none at slot $slot"; return 1; }
        [ "$(starts "0000:00:$slot.0")" = 1 ] || { echo "slot $slot was restarted"; return 1; }
    done
    try_read 1 && echo "16 daemons, each started once"
}

legacy() {
    to_vfio 0000:00:14.0 && refuses '0000:00:14.0: no .* structure for virtio 1.x.*disable-modern' \
        virtio-blkd --device 0000:00:14.0 --log-level error
}

bypass() {
    to_vfio 0000:00:15.0 && refuses '0000:00:15.0: .*VIRTIO_F_ACCESS_PLATFORM.*iommu_platform=on' \
        virtio-blkd --device 0000:00:15.0 --log-level error
}

# by_hand OPTION...: serves the disk at slot 16 with the options, verifies data, and says what the daemon reports.
by_hand() {
    local daemon pid disk status=0
    to_vfio 0000:00:16.0 || return 1
    virtio-blkd --device 0000:00:16.0 "$@" >"$OUT/by-hand.txt" 2>&1 9>&- &
    pid=$!
    wait_for 30 daemon_disk 0000:00:16.0 0 || { cat "$OUT/by-hand.txt"; return 1; }
    disk=$(daemon_disk 0000:00:16.0 0)
    verify_fio "$disk" 12m --iodepth=16 --bsrange=512-64k >/tmp/fio 2>&1 || { tail -n 3 /tmp/fio; status=1; }
    virtio-blkd inspect --device 0000:00:16.0 >/tmp/report || status=1
    cat "/sys/block/${disk##*/}/queue/write_cache" >/tmp/cache
    kill -TERM "$pid"
    wait "$pid" || { echo "it ended with $?"; status=1; }
    return "$status"
}

# As many as requests may be in flight.
large() { by_hand --queue-depth 1024 && grep 'queues.* of 1024 entries' /tmp/report; }
in_order() { by_hand --in-order && grep -w 'features.*in-order' /tmp/report; }
polled() { by_hand --polled --queues 1 && grep 'queues' /tmp/report; }

write_cache() {
    by_hand --write-cache off && grep -q 'write through' /tmp/cache || { cat /tmp/cache; return 1; }
    by_hand --write-cache on && grep -q 'write back' /tmp/cache || { cat /tmp/cache; return 1; }
    echo "write through, then write back"
}

check "split ring" shape 04 split event-idx indirect-desc access-platform
check "packed ring" shape 05 packed event-idx indirect-desc
check "packed ring without event_idx" shape 06 packed -event-idx
check "split ring without event_idx" shape 07 split -event-idx
check "split ring without indirect descriptors" shape 08 split -indirect-desc
check "packed ring without indirect descriptors" shape 09 packed -indirect-desc
check "queues of 4 entries" shape 0a split "of 4 entries"
check "queues of 16 entries, packed" shape 0b packed "of 16 entries"
check "4 queues" four_queues
check "1 queue" shape 0d "1, split"
check "1 interrupt vector" shape 0e "1, split" MSI-X
check "the interrupt pin" shape 0f "1, split" INTx
check "4096-byte blocks" big_blocks
check "resize by QMP" resized
check "read-only" read_only
wait_for 60 subject_disk "$FAULTY"
DISK=$(subject_disk "$FAULTY") || exit
check "a failing block is EIO to its reader alone" failing_read
check "a failing block is EIO to its writer alone" failing_write
if [ "$SUBJECT" != linux ]; then
    check "the daemons outlive all of that" outlives
    check "a legacy device (disable-modern=on) is refused" legacy
    check "a device that goes around the IOMMU is refused" bypass
    check "queues of 1024 entries" large
    check "answers in order" in_order
    check "polled" polled
    check "the write cache is switched" write_cache
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
fi
exit 0
