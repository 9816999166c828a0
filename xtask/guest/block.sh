# Functions for scripts that try a disk. SUBJECT is the daemon under test, or "linux" to try the
# script itself on Linux's own driver.

OUT=/rig/out
SPAWNER_LOG=$OUT/pcid-spawner.txt

# spawner OPTION...: pcid-spawner with the files and daemons of this guest. A killed daemon is back
# after a second at most, however often it was killed.
spawner() {
    exec pcid-spawner --config /rig/pcid.d --drivers /rig/bin --restart-delay-max 1s "$@"
}

# start_spawner OPTION...: starts pcid-spawner, which starts the daemons; their log is its log.
start_spawner() {
    modprobe vfio-pci && modprobe ublk_drv || return 1
    spawner "$@" >>"$SPAWNER_LOG" 2>&1 9>&- &
    SPAWNER=$!
}

# subject_disk PCI_ADDRESS [NAMESPACE]: the disk of a PCI function under test.
subject_disk() {
    if [ "$SUBJECT" = linux ]; then
        linux_disk "$1" "${2:-1}"
    else
        daemon_disk "$1" "${2:-1}"
    fi
}

linux_disk() {
    local disk
    for disk in /sys/block/nvme*n"$2"; do
        case $(readlink -f "$disk") in
        */"$1"/*)
            echo "/dev/${disk##*/}"
            return 0
            ;;
        esac
    done
    return 1
}

# The daemon names its disks by the function's address: /run/red-bear/pci-0000-00-04.0-nvme/1.
daemon_disk() {
    local link disk
    for link in /run/red-bear/*"${1//:/-}"*/"$2"; do
        disk=$(readlink -f "$link") && [ -b "$disk" ] && echo "$disk" && return 0
    done
    return 1
}

# daemon_pid PCI_ADDRESS: the process that serves a function and is ready.
daemon_pid() {
    pcid-spawner status | awk -v address="$1" '
        $1 == address && $3 == "running" { print $4; found = 1 }
        END { exit !found }'
}

# starts PCI_ADDRESS: how often its daemon was started.
starts() { pcid-spawner status | awk -v address="$1" '$1 == address { print $5 }'; }

# respawned PCI_ADDRESS PROCESS: another process serves the function.
respawned() {
    local pid
    pid=$(daemon_pid "$1") && [ "$pid" != "$2" ]
}

# partition DISK NUMBER
partition() {
    case $1 in
    *[0-9]) echo "${1}p$2" ;;
    *) echo "$1$2" ;;
    esac
}

# make_tree DIRECTORY: 5,000 files of many sizes in 50 directories.
make_tree() {
    local i
    for i in $(seq 50); do
        mkdir -p "$1/$i"
        head -c $((i * 40 * 512)) /dev/urandom | (cd "$1/$i" && split -a 3 -b $((i * 205)) - file)
    done
    [ "$(find "$1" -type f | wc -l)" = 5000 ]
}

# sums DIRECTORY: a checksum of each file.
sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

drop_caches() { sync && echo 3 >/proc/sys/vm/drop_caches; }

# verify_fio DISK SIZE OPTION...: writes and verifies random sizes.
verify_fio() {
    local disk=$1 size=$2
    shift 2
    fio --name=verify --filename="$disk" --direct=1 --ioengine=io_uring --rw=randwrite \
        --size="$size" --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_backlog=512 \
        --group_reporting "$@"
}

# quick_iops DISK OPTION...: requests per second of a short run.
quick_iops() {
    local disk=$1
    shift
    fio --name=speed --filename="$disk" --direct=1 --ioengine=io_uring --rw=randread --bs=4k \
        --size=64m --runtime=4 --time_based --minimal "$@" | cut -d';' -f 8
}

# trim_shrinks IMAGE MOUNTPOINT: a removed file's blocks are freed on the host.
trim_shrinks() {
    local before after
    dd if=/dev/urandom of="$2/fill" bs=1M count=64 conv=fsync status=none || return 1
    before=$(host blocks "$1") || return 1
    rm "$2/fill"
    sync
    fstrim "$2" || return 1
    after=$(host blocks "$1") || return 1
    echo "$before bytes before, $after after"
    [ "$after" -lt $((before - 60000000)) ]
}

# fsync_arrives FILE EVENT: an fsync makes QEMU's controller see a flush command, which is that trace event.
fsync_arrives() {
    local before after
    sync
    before=$(host trace-count "$2") || return 1
    dd if=/dev/urandom of="$1" bs=4k count=1 conv=fsync status=none || return 1
    after=$(host trace-count "$2") || return 1
    echo "$((after - before)) flushes for one fsync"
    [ "$after" -gt "$before" ]
}

# gpt_appears DISK: three partitions at the places that were asked for, and no others.
gpt_appears() {
    local disk=$1 expected found
    sgdisk -Z "$disk" >/dev/null 2>&1
    sgdisk -n 1:2048:+32M -n 2:0:+64M -n 3:0:+16M "$disk" >/dev/null || return 1
    blockdev --rereadpt "$disk"
    wait_for 10 test -b "$(partition "$disk" 3)" || return 1
    expected="2048:65536 67584:131072 198656:32768 "
    found=$(for n in 1 2 3; do
        p=/sys/class/block/$(basename "$(partition "$disk" "$n")")
        printf '%s:%s ' "$(cat "$p/start")" "$(cat "$p/size")"
    done)
    echo "$found"
    [ "$found" = "$expected" ] && [ ! -e "$(partition "$disk" 4)" ]
}

# completed DISK: requests that the kernel has seen completed.
completed() { awk '{ print $1 + $5 }' "/sys/block/${1##*/}/stat"; }

# advances DISK: requests are being completed.
advances() {
    local before
    before=$(completed "$1")
    sleep 0.3
    [ "$(completed "$1")" -gt "$before" ]
}

# to_vfio PCI_ADDRESS: takes a function from whichever driver has it.
to_vfio() {
    local device=/sys/bus/pci/devices/$1
    modprobe vfio-pci || return 1
    [ "$(basename "$(readlink "$device/driver")")" = vfio-pci ] && return 0
    echo vfio-pci >"$device/driver_override"
    [ -e "$device/driver" ] && echo "$1" >"$device/driver/unbind"
    echo "$1" >/sys/bus/pci/drivers_probe
    [ "$(basename "$(readlink "$device/driver")")" = vfio-pci ]
}

# blocked_writes PCI_ADDRESS: faults that the IOMMU has reported of a function's writes. Linux names the segment since 7.x.
blocked_writes() { dmesg | grep -cE "DMAR: \[DMA Write.*\[(0000:)?${1#0000:}\]"; }

# refuses PATTERN COMMAND...: fails within 30 s with one line on stderr that matches. clap adds a
# hint to its line.
refuses() {
    local pattern=$1 said status
    shift
    said=$(timeout 30 "$@" 2>&1 >/dev/null | grep -v -e '^$' -e "^For more information, try '--help'.$"; exit "${PIPESTATUS[0]}")
    status=$?
    echo "$said"
    [ "$status" != 0 ] && [ "$status" != 124 ] && [ "$(wc -l <<<"$said")" = 1 ] &&
        grep -qE "$pattern" <<<"$said"
}

# What follows is done to $DISK, the disk of the function at $ADDRESS.

file_system() {
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$DISK" && mount "$DISK" /mnt &&
        df -h --output=size,avail /mnt | tail -n 1
}

tree_survives() {
    make_tree /tmp/tree || return 1
    sums /tmp/tree >/tmp/sums
    cp -r /tmp/tree /mnt/tree && drop_caches || return 1
    umount /mnt && mount "$DISK" /mnt || return 1
    sums /mnt/tree >/tmp/sums.read
    cmp /tmp/sums /tmp/sums.read || return 1
    echo "$(wc -l </tmp/sums) files, $(du -sm /mnt/tree | cut -f 1) MiB, equal"
}

gpt_then_wiped() {
    gpt_appears "$DISK" || return 1
    sgdisk -Z "$DISK" >/dev/null && blockdev --rereadpt "$DISK"
}

random_sizes() {
    verify_fio "$DISK" 64m --bsrange=512-64k --iodepth=32 --numjobs=2 --offset_increment=64m \
        >/tmp/fio 2>&1 || { grep -i err /tmp/fio; tail -n 3 /tmp/fio; return 1; }
    grep -m 1 -E '^ *write:' /tmp/fio
}

# The job must outlive the daemon, end without an error and find each block as it wrote it.
kill_in_the_middle() {
    local old new job started status
    old=$(daemon_pid "$ADDRESS")
    verify_fio "$DISK" 128m --bs=4k --iodepth=32 --numjobs=1 --loops=20 --time_based --runtime=16 \
        --write_iops_log="$OUT/kill" --log_avg_msec=200 >/tmp/fio 2>&1 &
    job=$!
    wait_for 10 advances "$DISK" || { echo "the job does not start"; return 1; }
    started=$(stat -c %Y /proc/$job)
    sleep 5
    kill -0 "$job" || { echo "the job ended before the kill"; return 1; }
    kill -9 "$old"
    metric kill.at "$(($(date +%s) - started))" s
    local from=$EPOCHREALTIME
    wait_for 30 respawned "$ADDRESS" "$old" || { echo "not respawned"; return 1; }
    wait_for 60 advances "$DISK" || { echo "no request completes after the kill"; return 1; }
    metric kill.recovery "$(awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')" s
    new=$(daemon_pid "$ADDRESS")
    wait "$job"
    status=$?
    [ "$status" = 0 ] || { tail -n 3 /tmp/fio; echo "fio ended with $status"; return 1; }
    grep -q 'err= 0' /tmp/fio || { echo "fio reports errors"; return 1; }
    echo "process $old, then $new; fio ended with 0 and no miscompare"
}

many_kills() {
    local old i worst=0 from took
    (
        while [ ! -e /tmp/enough ]; do
            verify_fio "$DISK" 32m --bs=4k --iodepth=32 >/tmp/fio 2>&1 || exit 1
        done
    ) &
    local job=$!
    for i in $(seq 20); do
        wait_for 60 advances "$DISK" || { echo "no progress before kill $i"; touch /tmp/enough; return 1; }
        kill -0 "$job" || { tail -n 3 /tmp/fio; echo "the job failed before kill $i"; return 1; }
        old=$(daemon_pid "$ADDRESS")
        from=$SECONDS
        kill -9 "$old"
        wait_for 60 respawned "$ADDRESS" "$old" || { echo "not respawned after kill $i"; touch /tmp/enough; return 1; }
        took=$((SECONDS - from))
        [ "$took" -gt "$worst" ] && worst=$took
        note "kill $i of 20: process $old gone, $(daemon_pid "$ADDRESS") after $took s"
    done
    wait_for 60 advances "$DISK"
    touch /tmp/enough
    wait "$job" || { tail -n 3 /tmp/fio; echo "the verifying job failed"; return 1; }
    echo "20 kills, longest respawn $worst s, no error, no miscompare"
}

# Files that were synced before the kills, on a file system that lived through two more.
clean_after_kills() {
    mkfs.ext4 -q "$DISK" && mount "$DISK" /mnt && cp -r /tmp/tree /mnt/tree && sync || return 1
    local old i
    for i in 1 2; do
        dd if=/dev/urandom of=/mnt/more$i bs=1M count=32 status=none &
        sleep 0.5
        old=$(daemon_pid "$ADDRESS")
        kill -9 "$old"
        wait_for 60 respawned "$ADDRESS" "$old" || return 1
        wait || true
    done
    drop_caches
    sums /mnt/tree | cmp /tmp/sums - || { echo "files changed"; return 1; }
    umount /mnt && e2fsck -fn "$DISK" | tail -n 1
}
