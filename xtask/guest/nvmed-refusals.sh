# Bad input: one line that names the thing, a status that is not 0, and nothing changed.

. /rig/guest/block.sh

ADDRESS=0000:00:04.0

# state: what must not change.
state() {
    find /sys/bus/pci/devices/ -maxdepth 1 -mindepth 1 | sort | while read -r device; do
        echo "$device $(readlink "$device/driver") $(cat "$device/driver_override")"
    done
    sha256sum "$(linux_disk "$ADDRESS" 1)"
}

skips_broken_file() {
    timeout 10 bash -c '. /rig/guest/block.sh; spawner' >"$SPAWNER_LOG" 2>&1
    grep -m 1 '05-broken.toml' "$SPAWNER_LOG" && grep -q "$ADDRESS is left alone" "$SPAWNER_LOG"
}

unchanged() {
    state >/tmp/after
    cmp /tmp/before /tmp/after && echo "drivers, overrides and the disk are as they were"
}

modprobe nvme
wait_for 20 linux_disk "$ADDRESS" 1 || exit
mkfs.ext4 -q "$(linux_disk "$ADDRESS" 1)"
mount -o ro "$(linux_disk "$ADDRESS" 1)" /mnt || exit
state >/tmp/before
if [ "$SUBJECT" != linux ]; then
    check "VFIO not loaded" refuses 'vfio' nvmed --device "$ADDRESS"
    modprobe ublk_drv
    modprobe vfio-pci
    check "no IOMMU group" refuses '(iommu|IOMMU|group)' nvmed --device 0000:00:1f.2
    check "no such device" refuses '0000:00:1e.0' nvmed --device 0000:00:1e.0
    check "a malformed address" refuses 'zero' nvmed --device zero
    check "a malformed pcid.d file is named and skipped" skips_broken_file
fi
check "nothing was changed" unchanged
umount /mnt
exit 0
