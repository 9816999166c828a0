# Device models, judged by Linux's own drivers.

. /rig/guest/disk-checks.sh

SUBJECT=linux
declare -A SLOTS=([nvme]=0000:00:04.0 [ahci]=0000:00:05.0 [split]=0000:00:06.0 [packed]=0000:00:07.0)

carries_files() {
    file_system && tree_survives && umount /mnt
}

# What was written is gone after a discard and after zeroes were written.
discards() {
    local how
    for how in "" --zeroout; do
        dd if=/dev/urandom of="$DISK" bs=1M count=4 oflag=direct status=none || return 1
        # shellcheck disable=SC2086
        blkdiscard $how --offset 1M --length 2M "$DISK" || return 1
        cmp -n $((2 << 20)) -i $((1 << 20)):0 "$DISK" /dev/zero || return 1
        cmp -n 4096 "$DISK" /dev/zero >/dev/null && { echo "too much is gone"; return 1; }
    done
    echo "2 MiB of 4"
}

# on MODEL: what follows is about it.
on() {
    MODEL=$1 ADDRESS=${SLOTS[$1]}
    rm -rf /tmp/tree
    wait_for 30 kernel_block_device "$ADDRESS"
    DISK=$(kernel_block_device "$ADDRESS")
}

modprobe -a nvme ahci sd_mod virtio_blk

on nvme
check "nvme, Linux's driver finds its disk" test -b "$DISK"
check "nvme, ext4, 5,000 files copied and compared" carries_files
check "nvme, fio verifies random sizes, 2 jobs at QD32" random_sizes
check "nvme, discard and write zeroes" discards
check "nvme, nothing forbidden was done" uncomplaining

on ahci
check "ahci, Linux's driver finds its disk" test -b "$DISK"
check "ahci, ext4, 5,000 files copied and compared" carries_files
check "ahci, fio verifies random sizes, 2 jobs at QD32" random_sizes
check "ahci, discard and write zeroes" discards
# Linux starts ports without a device, and writes CAP and PI back after a reset; the firmware stops in no order.
# That it is said of Linux at all shows that complaints arrive.
complaints_arrive() { uncomplaining "$@" && host complaints "$MODEL" | grep -q StartedEarly; }
check "ahci, nothing forbidden was done but what is known" complaints_arrive StartedEarly RegisterAccess ReceiveStopped

on split
check "split, Linux's driver finds its disk" test -b "$DISK"
check "split, ext4, 5,000 files copied and compared" carries_files
check "split, fio verifies random sizes, 2 jobs at QD32" random_sizes
check "split, discard and write zeroes" discards
check "split, nothing forbidden was done" uncomplaining

on packed
check "packed, Linux's driver finds its disk" test -b "$DISK"
check "packed, ext4, 5,000 files copied and compared" carries_files
check "packed, fio verifies random sizes, 2 jobs at QD32" random_sizes
check "packed, discard and write zeroes" discards
check "packed, nothing forbidden was done" uncomplaining
exit 0
