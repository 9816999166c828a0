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

# refuses PATTERN COMMAND...: fails within 20 s with one line on stderr that matches.
refuses() {
    local pattern=$1 said status
    shift
    said=$(timeout 20 "$@" 2>&1 >/dev/null)
    status=$?
    echo "$said"
    [ "$status" != 0 ] && [ "$status" != 124 ] && [ "$(wc -l <<<"$said")" = 1 ] &&
        grep -qE "$pattern" <<<"$said"
}

skips_broken_file() {
    timeout 10 pcid-spawner --config /rig/pcid.d >/tmp/spawner.txt 2>&1
    cp /tmp/spawner.txt "$OUT/pcid-spawner.txt"
    grep -m 1 '05-broken.toml' /tmp/spawner.txt && grep -q "$ADDRESS" /tmp/spawner.txt
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
    check "a device that is no NVMe controller" refuses '0000:00:1b.0' nvmed --device 0000:00:1b.0
    check "a device in use" refuses "$ADDRESS" nvmed --device "$ADDRESS"
    check "a malformed pcid.d file is named and skipped" skips_broken_file
fi
check "nothing was changed" unchanged
umount /mnt
exit 0
