# nvmed carries a file system, is killed, and loses nothing.

. /rig/guest/block.sh

ADDRESS=0000:00:04.0
PEER=0000:00:05.0
MOUNTED=0000:00:06.0

peer_is_linux() {
    modprobe nvme && wait_for 20 linux_disk "$PEER" 1 && linux_disk "$PEER" 1
}

mount_one() {
    wait_for 20 linux_disk "$MOUNTED" 1 || return 1
    mkdir -p /mounted
    mkfs.ext4 -q "$(linux_disk "$MOUNTED" 1)" && mount "$(linux_disk "$MOUNTED" 1)" /mounted &&
        echo kept >/mounted/file && sync
}

enumerated() {
    local ids
    ids=$(lspci -Dn -s "$ADDRESS")
    echo "$ids"
    grep -q '0108: 8086:5845' <<<"$ids"
}

spawned() {
    wait_for 30 subject_disk "$ADDRESS" || return 1
    echo "$(subject_disk "$ADDRESS"), process $(daemon_pid "$ADDRESS")"
}

mounted_is_left() {
    grep -q "$MOUNTED is left alone" "$SPAWNER_LOG" || { echo "no word of $MOUNTED"; return 1; }
    drop_caches
    [ "$(basename "$(readlink "/sys/bus/pci/devices/$MOUNTED/driver")")" = nvme ] &&
        [ "$(cat /mounted/file)" = kept ] && grep -o "$MOUNTED is left alone.*" "$SPAWNER_LOG"
}

# After all that I/O; two queues of depth 256, one for each processor.
little_memory() {
    local kib
    kib=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$(daemon_pid "$ADDRESS")/status") || return 1
    metric memory "$kib" KiB
    echo "$kib KiB"
    [ "$kib" -gt 0 ] && [ "$kib" -lt $((24 * 1024)) ]
}

inspected() {
    nvmed inspect --device "$ADDRESS" >"$OUT/inspect.txt" || return 1
    cat "$OUT/inspect.txt"
    grep -q '^  model  *QEMU NVMe Ctrl' "$OUT/inspect.txt" && grep -q '^health' "$OUT/inspect.txt" &&
        grep -E '^Write +[1-9]' "$OUT/inspect.txt"
}

compared() {
    local peer
    peer=$(linux_disk "$PEER" 1)
    metric linux.randread_4k_qd32 "$(quick_iops "$peer" --iodepth=32)" IOPS
    metric ours.randread_4k_qd32 "$(quick_iops "$DISK" --iodepth=32)" IOPS
    metric linux.randread_4k_qd1 "$(quick_iops "$peer" --iodepth=1)" IOPS
    metric ours.randread_4k_qd1 "$(quick_iops "$DISK" --iodepth=1)" IOPS
}

# The controller is told to write to a page that is not mapped for it.
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

# The last thing that the controller hears of a daemon that is asked to end is CC.SHN. Not within a
# check: only the shell that started pcid-spawner can wait for it.
end_spawner() {
    OLD=$(daemon_pid "$ADDRESS")
    BEFORE=$(host trace-count pci_nvme_mmio_shutdown_set)
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
    ENDED=$?
}

clean_end() {
    local after
    wait_for 20 test ! -d "/proc/$OLD" || { echo "the daemon is still there"; return 1; }
    after=$(host trace-count pci_nvme_mmio_shutdown_set)
    echo "pcid-spawner ended with $ENDED after $((after - BEFORE)) shutdown notifications"
    [ "$ENDED" = 0 ] && [ "$after" -gt "$BEFORE" ] && [ ! -e "$DISK" ]
}

# The rig's random number generator, handed to VFIO as if it were ours.
not_ours() {
    to_vfio 0000:00:1c.0 && refuses 0000:00:1c.0 nvmed --device 0000:00:1c.0
}

spawner_refuses() { refuses "$MOUNTED.*mounted" bash -c ". /rig/guest/block.sh; spawner --device $MOUNTED"; }

check "the peer is Linux's" peer_is_linux
mount_one || exit
check "enumerated" enumerated
if [ "$SUBJECT" != linux ]; then
    # Here and not in a check, whose subshell would be its parent.
    start_spawner
    check "spawned by pcid-spawner" spawned || exit
    check "a mounted device is left alone" mounted_is_left
fi
DISK=$(subject_disk "$ADDRESS") || exit
check "mkfs.ext4 and mount" file_system || exit
check "5,000 files copied and compared" tree_survives
check "fsync reaches the controller" fsync_arrives /mnt/synced "pci_nvme_flush_ns "
check "fstrim shrinks the host image" trim_shrinks ours /mnt
umount /mnt
check "GPT partitions" gpt_then_wiped
check "fio verifies random sizes, 2 jobs at QD32" random_sizes
compared
if [ "$SUBJECT" != linux ]; then
    check "resident memory below 24 MiB" little_memory
    check "the running daemon can be inspected" inspected
    check "SIGKILL in the middle of a verifying fio" kill_in_the_middle
    check "20 kills" many_kills
    check "file system is clean after the kills" clean_after_kills
    end_spawner
    check "SIGTERM ends the daemon cleanly" clean_end
fi
check "DMA outside a map is blocked" stray_dma
if [ "$SUBJECT" != linux ]; then
    check "a device in use is refused" refuses "$MOUNTED" nvmed --device "$MOUNTED"
    check "a mounted device is refused by pcid-spawner" spawner_refuses
    check "a device that is no NVMe controller is refused" not_ours
fi
umount /mounted
exit 0
