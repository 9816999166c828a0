# Checks of a daemon's disk that are the same for every driver, beside Linux's driver on a second device.
#
# A script sets ADDRESS, PEER and MOUNTED, the functions of our disk, of the peer's and of a disk that is in use; LINUX_DRIVER,
# the PCI driver that the kernel has for them; ENDED_BY, the trace event of what the device hears last.

. /rig/guest/block.sh

mount_one() {
    wait_for 20 linux_disk "$MOUNTED" "$UNIT" || return 1
    mkdir -p /mounted
    mkfs.ext4 -q "$(linux_disk "$MOUNTED" "$UNIT")" && mount "$(linux_disk "$MOUNTED" "$UNIT")" /mounted &&
        echo kept >/mounted/file && sync
}

spawned() {
    wait_for 30 subject_disk "$ADDRESS" || return 1
    echo "$(subject_disk "$ADDRESS"), process $(daemon_pid "$ADDRESS")"
}

mounted_is_left() {
    grep -q "$MOUNTED is left alone" "$SPAWNER_LOG" || { echo "no word of $MOUNTED"; return 1; }
    drop_caches
    [ "$(basename "$(readlink "/sys/bus/pci/devices/$MOUNTED/driver")")" = "$LINUX_DRIVER" ] &&
        [ "$(cat /mounted/file)" = kept ] && grep -o "$MOUNTED is left alone.*" "$SPAWNER_LOG"
}

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

# After all that I/O; two queues of depth 256, one for each processor.
little_memory() {
    local kib
    kib=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$(daemon_pid "$ADDRESS")/status") || return 1
    metric memory "$kib" KiB
    echo "$kib KiB"
    [ "$kib" -gt 0 ] && [ "$kib" -lt $((24 * 1024)) ]
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

compared() {
    local peer
    peer=$(linux_disk "$PEER" "$UNIT")
    metric linux.randread_4k_qd32 "$(quick_iops "$peer" --iodepth=32)" IOPS
    metric ours.randread_4k_qd32 "$(quick_iops "$DISK" --iodepth=32)" IOPS
    metric linux.randread_4k_qd1 "$(quick_iops "$peer" --iodepth=1)" IOPS
    metric ours.randread_4k_qd1 "$(quick_iops "$DISK" --iodepth=1)" IOPS
}

# The last thing that the device hears of a daemon that is asked to end. Not within a check: only the shell that started
# pcid-spawner can wait for it.
end_spawner() {
    OLD=$(daemon_pid "$ADDRESS")
    BEFORE=$(host trace-count "$ENDED_BY")
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
    ENDED=$?
}

clean_end() {
    local after
    wait_for 20 test ! -d "/proc/$OLD" || { echo "the daemon is still there"; return 1; }
    after=$(host trace-count "$ENDED_BY")
    echo "pcid-spawner ended with $ENDED after $((after - BEFORE)) farewells to the device"
    [ "$ENDED" = 0 ] && [ "$after" -gt "$BEFORE" ] && [ ! -e "$DISK" ]
}

# The rig's random number generator, handed to VFIO as if it were ours.
not_ours() {
    to_vfio 0000:00:1c.0 && refuses 0000:00:1c.0 "$SUBJECT" --device 0000:00:1c.0
}

spawner_refuses() { refuses "$MOUNTED.*mounted" bash -c ". /rig/guest/block.sh; spawner --device $MOUNTED"; }
