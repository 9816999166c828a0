# ahcid carries a file system, is killed, and loses nothing.

. /rig/guest/disk-checks.sh
. /rig/guest/ahci.sh

# FLUSH CACHE EXT is the last that the disk hears of a daemon that is asked to end.
ENDED_BY="cmd 0xea"
ADDRESS=0000:00:04.0
PEER=0000:00:05.0
MOUNTED=0000:00:06.0

peer_is_linux() {
    load_linux && wait_for 20 linux_disk "$PEER" 0 && linux_disk "$PEER" 0
}

enumerated() {
    local ids
    ids=$(lspci -Dn -s "$ADDRESS")
    echo "$ids"
    grep -q '0106: 8086:2922' <<<"$ids"
}

# The peer has no file system: it is kept from pcid-spawner by not being named.
mounted_is_left() {
    spawner --dry-run >/tmp/plan 2>&1
    grep -q "$MOUNTED is left alone" /tmp/plan || { cat /tmp/plan; echo "no word of $MOUNTED"; return 1; }
    drop_caches
    [ "$(basename "$(readlink "/sys/bus/pci/devices/$MOUNTED/driver")")" = ahci ] &&
        [ "$(cat /mounted/file)" = kept ] && grep -o "$MOUNTED is left alone.*" /tmp/plan
}

# The daemon moved its data by queued commands, as QEMU has seen.
queued() {
    local count
    count=$(host trace-count process_ncq_command) || return 1
    echo "$count queued commands"
    [ "$count" -gt 1000 ]
}

inspected() {
    ahcid inspect --device "$ADDRESS" >"$OUT/inspect.txt" || return 1
    cat "$OUT/inspect.txt"
    grep -q '^  model  *QEMU HARDDISK' "$OUT/inspect.txt" && grep -q '^  health  *no threshold' "$OUT/inspect.txt" &&
        grep -q 'power-on hours' "$OUT/inspect.txt" && grep -E '^Write +[1-9]' "$OUT/inspect.txt"
}

check "the peer is Linux's" peer_is_linux
mount_one || exit
check "enumerated" enumerated
if [ "$SUBJECT" != linux ]; then
    check "a mounted device is left alone" mounted_is_left
    # Here and not in a check, whose subshell would be its parent.
    start_spawner $(ours "$ADDRESS")
    check "spawned by pcid-spawner" spawned || exit
fi
DISK=$(subject_disk "$ADDRESS") || exit
check "mkfs.ext4 and mount" file_system || exit
check "5,000 files copied and compared" tree_survives
check "fsync reaches the disk" fsync_arrives /mnt/synced
check "fstrim shrinks the host image" trim_shrinks ours /mnt
umount /mnt
check "GPT partitions" gpt_then_wiped
check "fio verifies random sizes, 2 jobs at QD32" random_sizes
compared
if [ "$SUBJECT" != linux ]; then
    check "commands are queued natively" queued
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
    check "a device in use is refused" refuses "$MOUNTED" ahcid --device "$MOUNTED"
    check "a device that is no AHCI controller is refused" not_ours
fi
umount /mounted
exit 0
