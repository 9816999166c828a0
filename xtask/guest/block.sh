# Functions for scripts that try a disk. SUBJECT is the daemon under test, or "linux" to try the
# script itself on Linux's own driver.

OUT=/rig/out
# The name of the only disk that most devices have.
UNIT=1
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

# subject_disk PCI_ADDRESS [UNIT]: the disk of a PCI function under test.
subject_disk() {
    if [ "$SUBJECT" = linux ]; then
        linux_disk "$1" "${2:-$UNIT}"
    else
        daemon_disk "$1" "${2:-$UNIT}"
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

# flushes: how many flush commands QEMU's controller has seen.
flushes() { host trace-count "pci_nvme_flush_ns "; }

# fsync_arrives FILE: an fsync makes QEMU's controller see a flush command.
fsync_arrives() {
    local before after
    sync
    before=$(flushes) || return 1
    dd if=/dev/urandom of="$1" bs=4k count=1 conv=fsync status=none || return 1
    after=$(flushes) || return 1
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

# The device is told to write to a page that is not mapped for it.
stray_dma() {
    local before after
    to_vfio "$ADDRESS" || return 1
    before=$(blocked_writes "$ADDRESS")
    stray-dma --device "$ADDRESS" >/tmp/stray 2>&1 || { cat /tmp/stray; return 1; }
    wait_for 5 faulted "$before" || { echo "no IOMMU fault is reported"; return 1; }
    after=$(blocked_writes "$ADDRESS")
    echo "$((after - before)) IOMMU faults reported; $(cat /tmp/stray)"
}

faulted() { [ "$(blocked_writes "$ADDRESS")" -gt "$1" ]; }

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
