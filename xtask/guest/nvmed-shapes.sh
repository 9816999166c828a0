# Controllers with tight limits, and blocks that fail.

. /rig/guest/block.sh

FAULTY=0000:00:09.0

# Linux's own driver turns the controller's media errors into ENODATA.
ERROR='Input/output error'
[ "$SUBJECT" = linux ] && ERROR='No data available'

if [ "$SUBJECT" = linux ]; then
    modprobe nvme
else
    start_spawner || exit
fi

# shape ADDRESS NAMESPACE OPTION...: the disk appears and carries verified data.
shape() {
    local address=$1 namespace=$2 disk
    shift 2
    wait_for 30 subject_disk "$address" "$namespace" || { echo "no disk"; return 1; }
    disk=$(subject_disk "$address" "$namespace")
    verify_fio "$disk" 16m --iodepth=16 "$@" >/tmp/fio 2>&1 || { tail -n 3 /tmp/fio; return 1; }
    echo "$disk, $(blockdev --getsize64 "$disk") bytes, $(blockdev --getss "$disk") bytes per block"
}

small_transfers() { shape 0000:00:04.0 1 --bsrange=512-128k; }
one_queue() { shape 0000:00:05.0 1 --bsrange=512-64k --numjobs=2 --offset_increment=16m; }
one_vector() { shape 0000:00:06.0 1 --bsrange=512-64k --numjobs=2 --offset_increment=16m; }

big_blocks() {
    local disk
    shape 0000:00:07.0 1 --bsrange=4k-64k || return 1
    disk=$(subject_disk 0000:00:07.0)
    [ "$(blockdev --getss "$disk")" = 4096 ] || return 1
    # A part of a block must be refused.
    ! dd if=/dev/zero of="$disk" bs=512 count=1 oflag=direct status=none 2>/dev/null
}

# Each namespace has its own size and keeps its own data.
namespaces() {
    local first second
    shape 0000:00:08.0 1 --bs=4k && shape 0000:00:08.0 2 --bs=4k || return 1
    first=$(subject_disk 0000:00:08.0 1)
    second=$(subject_disk 0000:00:08.0 2)
    [ "$(blockdev --getsize64 "$first")" = $((128 << 20)) ] &&
        [ "$(blockdev --getsize64 "$second")" = $((64 << 20)) ] || return 1
    dd if=/dev/zero of="$first" bs=4k count=1 oflag=direct status=none
    yes second | head -c 4096 | dd of="$second" bs=4k count=1 iflag=fullblock oflag=direct status=none
    cmp -n 4096 "$first" /dev/zero && ! cmp -s -n 4096 "$second" /dev/zero &&
        echo "$first $(blockdev --getsize64 "$first"), $second $(blockdev --getsize64 "$second")"
}

MEMBER=0000:00:0c.0
MANAGER=0000:00:0d.0

# manage COMMAND: attach-ns or detach-ns of namespace 2 for our controller, by way of the one that Linux drives.
manage() {
    local manager
    manager=$(basename "/sys/bus/pci/devices/$MANAGER/nvme/"nvme*)
    nvme "$1" "/dev/$manager" --namespace-id=2 --controllers=$((1 - $(cat "/sys/class/nvme/$manager/cntlid")))
}

manager_is_ready() { grep -qx live "/sys/bus/pci/devices/$MANAGER/nvme/"nvme*/state; }

detached() { ! subject_disk "$MEMBER" 2 >/dev/null; }

# Of the neighbour nothing is lost meanwhile, and what was written is there again afterwards.
come_and_go() {
    local job disk sum
    modprobe nvme && wait_for 20 manager_is_ready && wait_for 30 subject_disk "$MEMBER" 1 || return 1
    detached || { echo "namespace 2 is there before it was attached"; return 1; }
    (
        while [ ! -e /tmp/enough ]; do
            verify_fio "$(subject_disk "$MEMBER" 1)" 16m --bs=4k --iodepth=8 >/tmp/fio.neighbour 2>&1 || exit 1
        done
    ) &
    job=$!
    manage attach-ns && shape "$MEMBER" 2 --bs=4k || { touch /tmp/enough; return 1; }
    disk=$(subject_disk "$MEMBER" 2)
    sum=$(sha256sum <"$disk")
    manage detach-ns && wait_for 30 detached || { echo "namespace 2 stays"; touch /tmp/enough; return 1; }
    [ ! -e "$disk" ] || { echo "$disk stays"; touch /tmp/enough; return 1; }
    manage attach-ns && wait_for 30 subject_disk "$MEMBER" 2 || { touch /tmp/enough; return 1; }
    touch /tmp/enough
    wait "$job" || { tail -n 3 /tmp/fio.neighbour; echo "the neighbour's job failed"; return 1; }
    [ "$(sha256sum <"$(subject_disk "$MEMBER" 2)")" = "$sum" ] || { echo "other data than before"; return 1; }
    [ "$(starts "$MEMBER")" = 1 ] || { echo "the daemon was restarted"; return 1; }
}

# has_mib DISK MIB
has_mib() { [ "$(blockdev --getsize64 "$1")" = $(($2 << 20)) ]; }

# QEMU's controller never changes a size, so this is the front end over a disk that does nothing. Whoever had it open
# before reaches the new end.
follows_size() {
    local link=/run/red-bear/null/1 server disk status=1
    null-ublk --size 64 --resize 96 >/tmp/null-ublk 2>&1 &
    server=$!
    if wait_for 20 test -b "$link" && disk=$(readlink -f "$link") && has_mib "$disk" 64; then
        exec 8<"$disk"
        kill -USR1 "$server"
        wait_for 20 has_mib "$disk" 96 &&
            [ "$(dd bs=1M skip=80 count=1 iflag=direct status=none <&8 | wc -c)" = 1048576 ] && status=0
        exec 8<&-
        echo "$disk, $(blockdev --getsize64 "$disk") bytes"
    fi
    kill "$server"
    wait "$server"
    [ "$status" = 0 ] || tail -n 3 /tmp/null-ublk
    return "$status"
}

# Sectors 20480 (reading) and 40960 (writing) fail; dd counts in blocks of 4096 bytes.
try_read() { dd if="$DISK" of=/dev/null bs=4k skip="$1" count=1 iflag=direct status=none 2>&1; }
try_write() { dd if=/dev/zero of="$DISK" bs=4k seek="$1" count=1 oflag=direct status=none 2>&1; }

failing_read() {
    local said
    try_read 2559 && try_read 2561 || return 1
    said=$(try_read 2560) && { echo "reading it succeeds"; return 1; }
    grep -q "$ERROR" <<<"$said" || { echo "$said"; return 1; }
    try_read 2559 && try_read 2561 && echo "block 2560: ${said##*: }; its neighbours read"
}

failing_write() {
    local said
    try_write 5119 && try_write 5121 || return 1
    said=$(try_write 5120) && { echo "writing it succeeds"; return 1; }
    grep -q "$ERROR" <<<"$said" || { echo "$said"; return 1; }
    try_write 5119 && try_write 5121 && echo "block 5120: ${said##*: }; its neighbours are written"
}

# Each daemon is still the one that was started first.
outlives() {
    local address
    for address in 4 5 6 7 8 9; do
        daemon_pid "0000:00:0$address.0" >/dev/null || { echo "none at slot $address"; return 1; }
        [ "$(starts "0000:00:0$address.0")" = 1 ] || { echo "slot $address was restarted"; return 1; }
    done
    try_read 1 && echo "six daemons, each started once"
}

EMPTY=0000:00:0a.0
TRUNCATED=0000:00:0b.0

# to_nvme ADDRESS: gives a function back to Linux's driver.
to_nvme() {
    local device=/sys/bus/pci/devices/$1
    echo >"$device/driver_override"
    echo "$1" >"$device/driver/unbind"
    echo "$1" >/sys/bus/pci/drivers_probe
    wait_for 20 linux_disk "$1" 1
}

empty_namespace() {
    modprobe nvme && to_vfio "$EMPTY" || return 1
    refuses "$EMPTY.*namespace 1.* 0 blocks" nvmed --device "$EMPTY" --log-level error
}

# The table of a disk of 24 MiB on one of 16: its second partition ends where nothing is, and its backup is cut off.
truncated_table() {
    local disk sum said
    modprobe nvme && wait_for 20 linux_disk "$TRUNCATED" 1 || return 1
    disk=$(linux_disk "$TRUNCATED" 1)
    truncate -s 24M /tmp/table
    sgdisk -n 1:2048:+4M -n 2:0:+16M /tmp/table >/dev/null || return 1
    dd if=/tmp/table of="$disk" bs=1M count=16 oflag=direct status=none || return 1
    sum=$(sha256sum <"$disk")
    to_vfio "$TRUNCATED" || return 1
    refuses "$TRUNCATED.*namespace 1: .*(partition 2|backup)" nvmed partitions --device "$TRUNCATED" --log-level error || return 1
    to_nvme "$TRUNCATED" || return 1
    said=$(sha256sum <"$(linux_disk "$TRUNCATED" 1)")
    [ "$said" = "$sum" ] || { echo "the disk has changed"; return 1; }
}

check "mdts=1" small_transfers
check "max_ioqpairs=1" one_queue
check "msix_qsize=1" one_vector
check "4096-byte blocks" big_blocks
check "two namespaces" namespaces
if [ "$SUBJECT" != linux ]; then
    check "a namespace is attached, detached and attached again" come_and_go
    check "a block device follows the size of its disk" follows_size
fi
wait_for 20 subject_disk "$FAULTY"
DISK=$(subject_disk "$FAULTY") || exit
check "a failing block is EIO to its reader alone" failing_read
check "a failing block is EIO to its writer alone" failing_write
if [ "$SUBJECT" != linux ]; then
    check "the daemon outlives the errors" outlives
    check "a namespace of 0 blocks is refused" empty_namespace
    check "a truncated partition table is refused" truncated_table
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
fi
exit 0
