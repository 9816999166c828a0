# nvmed carries a file system, is killed, and loses nothing.

. /rig/guest/disk-checks.sh

LINUX_DRIVER=nvme
# CC.SHN.
ENDED_BY=pci_nvme_mmio_shutdown_set
ADDRESS=0000:00:04.0
PEER=0000:00:05.0
MOUNTED=0000:00:06.0

peer_is_linux() {
    modprobe nvme && wait_for 20 linux_disk "$PEER" 1 && linux_disk "$PEER" 1
}

enumerated() {
    local ids
    ids=$(lspci -Dn -s "$ADDRESS")
    echo "$ids"
    grep -q '0108: 8086:5845' <<<"$ids"
}

inspected() {
    nvmed inspect --device "$ADDRESS" >"$OUT/inspect.txt" || return 1
    cat "$OUT/inspect.txt"
    grep -q '^  model  *QEMU NVMe Ctrl' "$OUT/inspect.txt" && grep -q '^health' "$OUT/inspect.txt" &&
        grep -E '^Write +[1-9]' "$OUT/inspect.txt"
}

# vector NUMBER: the interrupt that VFIO made of a vector of our function.
vector() { awk -v name="[$1]($ADDRESS)" 'index($0, name) { sub(":", "", $1); print $1 }' /proc/interrupts; }

# A queue for each processor, with a vector of its own; the first vector is that of the admin queue.
each_its_processor() {
    local cpu irq place
    for cpu in $(seq 0 $(($(nproc) - 1))); do
        irq=$(vector $((cpu + 1)))
        place=$(cat "/proc/irq/$irq/smp_affinity_list") && [ "$place" = "$cpu" ] ||
            { echo "queue $((cpu + 1)): interrupt $irq goes to $place"; return 1; }
    done
    [ -z "$(vector $((cpu + 2)))" ] && echo "$((cpu + 1)) queues"
}

check "the peer is Linux's" peer_is_linux
mount_one || exit
check "enumerated" enumerated
if [ "$SUBJECT" != linux ]; then
    # Here and not in a check, whose subshell would be its parent.
    start_spawner
    check "spawned by pcid-spawner" spawned || exit
    check "a mounted device is left alone" mounted_is_left
    check "each queue's vector has its processor" each_its_processor
    check "a device of another daemon is refused" refuses "$ADDRESS" nvmed --device "$ADDRESS"
fi
DISK=$(subject_disk "$ADDRESS") || exit
check "mkfs.ext4 and mount" file_system || exit
check "5,000 files copied and compared" tree_survives
check "fsync reaches the controller" fsync_arrives /mnt/synced
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
