# What scripts that try a virtio block device have in common, and differs from other disks.

LINUX_DRIVER=virtio-pci
# A status of 0: the device is reset.
ENDED_BY=' val 0'
# A virtio device is one disk, and has the number 0.
UNIT=0

linux_disk() { kernel_block_device "$1"; }

# flushes: how often QEMU has flushed our disk.
flushes() {
    host qmp '{"execute":"query-blockstats"}' | grep -o '/ours/virtio-backend","stats":.*' |
        grep -o '"flush_operations":[0-9]*' | head -n 1 | cut -d : -f 2
}
