# Functions for scripts that try AHCI controllers. A disk is named by its port, from 0.

. /rig/guest/block.sh

LINUX_DRIVER=ahci
UNIT=0

# FLUSH CACHE EXT commands that QEMU's disks have seen.
flushes() { host trace-count "cmd 0xea"; }

# sata_port PCI_ADDRESS PORT: the port's directory below Linux's own driver.
sata_port() {
    local port
    port=$(ls -d "/sys/bus/pci/devices/$1"/ata* 2>/dev/null | sort -V | sed -n "$(($2 + 1))p")
    [ -n "$port" ] && readlink -f "$port"
}

# In place of the one for NVMe: the disk or CD drive at a port.
linux_disk() {
    local disk port
    port=$(sata_port "$1" "$2") || return 1
    for disk in /sys/block/sd* /sys/block/sr*; do
        case $(readlink -f "$disk") in
        "$port"/*)
            echo "/dev/${disk##*/}"
            return 0
            ;;
        esac
    done
    return 1
}

# Linux's own driver for those functions that are its.
load_linux() { modprobe -a ahci sd_mod sr_mod; }

# ours ADDRESS...: of the controllers, which are all alike, these are the daemon's.
ours() {
    local address
    for address in "$@"; do
        printf -- '--device %s ' "$address"
    done
}
