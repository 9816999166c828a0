# The rig's own test: everything that later scenarios stand on.

LINUX=0000:00:04.0
VFIO=0000:00:05.0

iommu_on() {
    [ -e "/sys/bus/pci/devices/$VFIO/iommu_group" ] && ls /sys/kernel/iommu_groups | wc -l | sed 's/$/ groups/'
}

linux_sees_both() {
    modprobe nvme
    wait_for 20 kernel_block_device "$LINUX" && wait_for 20 kernel_block_device "$VFIO" &&
        lsblk -dno NAME,SIZE | tr '\n' ' '
}

bind_vfio() {
    modprobe vfio-pci
    echo "$VFIO" >"/sys/bus/pci/devices/$VFIO/driver/unbind"
    echo vfio-pci >"/sys/bus/pci/devices/$VFIO/driver_override"
    echo "$VFIO" >/sys/bus/pci/drivers_probe
    local group
    group=$(basename "$(readlink "/sys/bus/pci/devices/$VFIO/iommu_group")")
    [ -c "/dev/vfio/$group" ] && echo "/dev/vfio/$group"
}

ublk_there() { modprobe ublk_drv && wait_for 5 test -c /dev/ublk-control && echo /dev/ublk-control; }

fio_runs() {
    fio --name=smoke --filename="$DISK" --rw=randwrite --bs=4k --iodepth=32 --ioengine=io_uring \
        --direct=1 --size=64m --io_size=8m --verify=crc32c --do_verify=1 --minimal | cut -d';' -f 49 |
        sed 's/$/ write IOPS/'
}

file_system() {
    mkfs.ext4 -q "$DISK" && mount "$DISK" /mnt && dd if=/dev/zero of=/mnt/f bs=1M count=64 conv=fsync status=none &&
        rm /mnt/f && sync && host blocks disk0
}

trim_reaches_host() {
    local before after
    dd if=/dev/urandom of=/mnt/f bs=1M count=64 conv=fsync status=none
    before=$(host blocks disk0)
    rm /mnt/f
    sync
    fstrim /mnt
    after=$(host blocks disk0)
    echo "$before bytes before, $after after"
    [ "$after" -lt $((before - 32000000)) ]
}

traced() {
    local flushes
    flushes=$(host trace-count pci_nvme_flush)
    echo "$flushes flushes"
    [ "$flushes" -gt 0 ]
}

host_is_there() { host qmp '{"execute": "query-status"}'; }

check "IOMMU groups" iommu_on
check "Linux sees two NVMe controllers" linux_sees_both
DISK=$(kernel_block_device "$LINUX")
check "vfio-pci binds one" bind_vfio
check "ublk loads" ublk_there
check "fio verifies" fio_runs
check "ext4" file_system
check "discard frees host blocks" trim_reaches_host
check "trace events" traced
check "host answers" host_is_there
umount /mnt
