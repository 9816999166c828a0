# virtio-blkd carries a file system, is killed, and loses nothing.

. /rig/guest/disk-checks.sh
. /rig/guest/virtio-blk.sh

ADDRESS=0000:00:04.0
PEER=0000:00:05.0
MOUNTED=0000:00:06.0

peer_is_linux() {
    modprobe virtio_blk && wait_for 20 linux_disk "$PEER" && linux_disk "$PEER"
}

enumerated() {
    local ids
    ids=$(lspci -Dn -s "$ADDRESS")
    echo "$ids"
    grep -q '0100: 1af4:1042' <<<"$ids"
}

inspected() {
    virtio-blkd inspect --device "$ADDRESS" >"$OUT/inspect.txt" || return 1
    cat "$OUT/inspect.txt"
    grep -q '^  serial  *ours' "$OUT/inspect.txt" && grep -q '^  features .*ring-packed' "$OUT/inspect.txt" &&
        grep -E '^Write +[1-9]' "$OUT/inspect.txt"
}

# The device that virtio-blkd serves has no secure erase, and the kernel says so.
secure_erase() {
    local said
    said=$(blkdiscard --secure "$DISK" 2>&1) && { echo "it succeeds"; return 1; }
    echo "$said"
    grep -q 'Operation not supported' <<<"$said"
}

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
check "fsync reaches the device" fsync_arrives /mnt/synced
check "fstrim shrinks the host image" trim_shrinks ours /mnt
umount /mnt
check "GPT partitions" gpt_then_wiped
check "secure erase is refused" secure_erase
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
    check "a device in use is refused" refuses "$MOUNTED" virtio-blkd --device "$MOUNTED"
    check "a mounted device is refused by pcid-spawner" spawner_refuses
    check "a device that is no block device is refused" not_ours
fi
umount /mounted
exit 0
