# Functions for scripts that try disks of several drivers at once.

. /rig/guest/block.sh

# start FUNCTION...: the drivers of these functions, ours or Linux's own.
start() {
    local address devices=()
    if [ "$SUBJECT" = linux ]; then
        modprobe -a nvme ahci sd_mod virtio_blk
        return
    fi
    for address in "$@"; do
        devices+=(--device "$address")
    done
    start_spawner "${devices[@]}"
}

# subject_disk FUNCTION [NUMBER]: in place of the one for a single driver. The first disk of a function is what there is.
subject_disk() {
    local disk number
    if [ "$SUBJECT" = linux ]; then
        sata_disk "$1" "${2:-0}" || kernel_block_device "$1"
        return
    fi
    for number in ${2:-0 1}; do
        disk=$(daemon_disk "$1" "$number") && echo "$disk" && return
    done
    return 1
}

# sata_disk FUNCTION PORT: as Linux's own driver has it.
sata_disk() {
    local disk port
    port=$(ls -d "/sys/bus/pci/devices/$1"/ata* 2>/dev/null | sort -V | sed -n "$(($2 + 1))p")
    for disk in /sys/block/sd*; do
        case $(readlink -f "$disk") in
        */"${port##*/}"/*) [ -n "$port" ] && echo "/dev/${disk##*/}" && return ;;
        esac
    done
    return 1
}
