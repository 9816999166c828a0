# iommud owns the IOMMU while the kernel leaves it alone: nvmed works through it, and what must not be reached is not.

. /rig/guest/disk-checks.sh

ADDRESS=0000:00:04.0
STRAY=0000:00:05.0
DISK_NAME=/run/red-bear/pci-0000-00-04.0-nvme/1
LOG=$OUT/iommud.txt
NVMED_LOG=$OUT/nvmed.txt

# bind_uio PCI_ADDRESS: the kernel hands the function's interrupt pin on, and nothing else.
bind_uio() {
    echo uio_pci_generic >"/sys/bus/pci/devices/$1/driver_override"
    echo "$1" >/sys/bus/pci/drivers_probe
    [ "$(basename "$(readlink "/sys/bus/pci/devices/$1/driver")")" = uio_pci_generic ]
}

start_iommud() {
    iommud >>"$LOG" 2>&1 9>&- &
    IOMMUD=$!
}

start_nvmed() {
    nvmed --device "$ADDRESS" --log-level info >>"$NVMED_LOG" 2>&1 9>&- &
    NVMED=$!
}

answers() { iommud inspect >"$OUT/inspect.txt" 2>&1; }
gone() { ! kill -0 "$1" 2>/dev/null; }
has_disk() { [ -b "$(readlink -f "$DISK_NAME")" ]; }

left_alone() {
    [ -z "$(ls /sys/class/iommu 2>/dev/null)" ] && [ -e /sys/firmware/acpi/tables/IVRS ] &&
        echo "no IOMMU of the kernel's, IVRS of $(stat -c %s /sys/firmware/acpi/tables/IVRS) bytes"
}

owned() {
    wait_for 20 answers || { tail -n 3 "$LOG"; return 1; }
    cat "$OUT/inspect.txt"
    grep -E '^unit 0: .* working' "$OUT/inspect.txt"
}

serves() {
    wait_for 60 has_disk || { tail -n 3 "$NVMED_LOG"; return 1; }
    iommud inspect | grep -E 'domain .*devices: 00:04.0' || return 1
    grep -o 'NVMe .*' "$NVMED_LOG" | tail -n 1
}

no_calls() {
    local before after
    before=$(batches)
    verify_fio "$DISK" 16m --bs=4k --iodepth=32 >/dev/null 2>&1 || return 1
    after=$(batches)
    echo "$((after - before)) batches of the unit during 4,096 writes and their reads"
    [ "$before" = "$after" ]
}

batches() { iommud inspect | awk '$1 == "batches" { print $2 }'; }

aims() { stray-dma --device "$STRAY" aim; }

inspect_tells() {
    iommud inspect | tee "$OUT/inspect-stray.txt" | grep -c 'IO_PAGE_FAULT: 00:05.0'
}

killed_driver() {
    stray-dma --device "$STRAY" hold </dev/null >/tmp/hold 2>&1 &
    local holder=$!
    wait_for 20 grep -q holding /tmp/hold || { cat /tmp/hold; return 1; }
    iommud inspect | grep -q 'devices: 00:05.0' || { echo "not assigned"; return 1; }
    kill -9 "$holder"
    wait_for 5 released || { echo "still assigned"; return 1; }
    stray-dma --device "$STRAY" wake
}

released() { ! iommud inspect | grep -q 'devices: 00:05.0'; }

abuse() {
    stray-dma --device "$ADDRESS" abuse >"$OUT/abuse.txt" 2>&1
    local status=$?
    tail -n 1 "$OUT/abuse.txt"
    [ "$status" = 0 ] && kill -0 "$IOMMUD" && kill -0 "$NVMED"
}

one_daemon() {
    refuses 'another daemon serves it' iommud
}

killed() {
    kill -9 "$IOMMUD"
    wait_for 10 gone "$IOMMUD"
}

# A device that was at work when the daemon was killed.
still_blocked() {
    gone "$IOMMUD" || return 1
    echo aim >&8
    wait_for 20 grep -q untouched /tmp/held || { cat /tmp/held; return 1; }
    tail -n 1 /tmp/held
}

# Without its daemon a driver's domain is gone: it must end with an error, not hang.
restarted() {
    wait_for 20 answers || { tail -n 3 "$LOG"; return 1; }
    grep '1 huge pages of a former daemon' "$LOG" || { echo "the tables of the first daemon were not there"; return 1; }
    # The new daemon has blocked the device: this read cannot succeed.
    timeout 240 dd if="$DISK" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null &&
        { echo "a device that nobody claimed has read memory"; return 1; }
    wait_for 240 gone "$NVMED" || { echo "nvmed hangs"; tail -n 3 "$NVMED_LOG"; return 1; }
    tail -n 1 "$NVMED_LOG"
}

serves_again() {
    wait_for 60 has_disk || { tail -n 3 "$NVMED_LOG"; return 1; }
    DISK=$(readlink -f "$DISK_NAME")
    e2fsck -fn "$DISK" >/tmp/fsck 2>&1 || { tail -n 3 /tmp/fsck; return 1; }
    mount "$DISK" /mnt && sums /mnt/tree | cmp /tmp/sums - && umount /mnt && tail -n 1 /tmp/fsck
}

ends() {
    echo "nvmed ended with $1, iommud with $2"
    [ "$1" = 0 ] && [ "$2" = 0 ] && [ ! -e /run/iommud.sock ]
}

check "the kernel leaves the IOMMU alone" left_alone || exit
modprobe ublk_drv && modprobe uio_pci_generic || exit
mkdir -p /dev/hugepages /run
mount -t hugetlbfs none /dev/hugepages
echo 24 >/proc/sys/vm/nr_hugepages
bind_uio "$ADDRESS" || exit
start_iommud
check "iommud owns the unit" owned || exit
start_nvmed
check "nvmed serves a disk through it" serves || exit
DISK=$(readlink -f "$DISK_NAME")
check "mkfs.ext4 and mount" file_system || exit
check "5,000 files copied and compared" tree_survives
check "fsync reaches the controller" fsync_arrives /mnt/synced
umount /mnt
check "e2fsck finds nothing" e2fsck -fn "$DISK"
check "five aims of a device are blocked and told of" aims
check "inspect tells of the events" inspect_tells
check "memory of a killed driver is out of reach" killed_driver
check "misbehaving clients get errors and harm nobody" abuse
check "a second daemon is refused" one_daemon
mkfifo /tmp/aim
stray-dma --device "$STRAY" hold </tmp/aim >/tmp/held 2>&1 9>&- &
HOLDER=$!
exec 8>/tmp/aim
wait_for 20 grep -q holding /tmp/held || exit
killed || exit
check "no stray DMA while there is no iommud" still_blocked
kill -9 "$HOLDER"
start_iommud
check "iommud killed and restarted, its driver ends cleanly" restarted
start_nvmed
check "the next driver finds everything" serves_again
DISK=$(readlink -f "$DISK_NAME")
check "fio verifies random sizes, 2 jobs at QD32" random_sizes
check "the data path asks the daemon for nothing" no_calls
# Here and not in a check, whose subshell is not their parent.
kill "$NVMED"
wait "$NVMED"
NVMED=$?
kill "$IOMMUD"
wait "$IOMMUD"
IOMMUD=$?
check "SIGTERM ends both cleanly" ends "$NVMED" "$IOMMUD"
exit 0
