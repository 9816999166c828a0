# Runs the benchmark's list of jobs, /rig/jobs, one after the other. Each line is
#
#   RUNNER INDEX FUNCTION arguments
#
# and each job leaves what its program says in /rig/out/INDEX. PCI_DRIVER, with MODULES, is Linux's driver, BENCH our program and
# DAEMON our daemon.

set -u
out=/rig/out

# bind FUNCTION DRIVER: gives a PCI function to a driver, if it is not there already.
bind() {
    local device=/sys/bus/pci/devices/$1
    [ "$(basename "$(readlink "$device/driver")")" = "$2" ] && return
    [ -e "$device/driver" ] && echo "$1" >"$device/driver/unbind"
    echo "$2" >"$device/driver_override"
    echo "$1" >/sys/bus/pci/drivers_probe
}

run_fio() {
    bind "$2" "$PCI_DRIVER"
    wait_for 20 kernel_block_device "$2" || return
    DISK=$(kernel_block_device "$2") fio --output-format=json --output="$out/$1" "/rig/jobs.d/$1.fio"
}

run_ours() {
    bind "$2" vfio-pci
    "$BENCH" --device "$2" "${@:3}" >"$out/$1"
}

# vroom maps the function itself and wants huge pages.
run_vroom() {
    if ! mountpoint -q /mnt/huge; then
        mkdir -p /mnt/huge
        mount -t hugetlbfs hugetlbfs /mnt/huge
        echo 128 >/proc/sys/vm/nr_hugepages
    fi
    bind "$2" vfio-pci
    echo "$2" >"/sys/bus/pci/devices/$2/driver/unbind"
    rb-mark "$3" -- "$VROOM" "$2" "$4" >"$out/$1"
    local status=$?
    rm -f /mnt/huge/*
    return "$status"
}

# The first ublk disk there is.
ublk_disk() {
    local disk
    for disk in /dev/ublkb*; do
        [ -b "$disk" ] && echo "$disk" && return
    done
    return 1
}

no_ublk_disk() { ! ublk_disk; }

# fio_on_ublk INDEX COMMAND...: runs the server, fio on its disk, and ends the server.
fio_on_ublk() {
    "${@:2}" >"$out/$1.server" 2>&1 &
    local server=$! status
    wait_for 30 ublk_disk || return
    DISK=$(ublk_disk) fio --output-format=json --output="$out/$1" "/rig/jobs.d/$1.fio"
    status=$?
    kill "$server"
    wait "$server"
    return "$status"
}

run_ublk() {
    bind "$2" vfio-pci
    fio_on_ublk "$1" "$DAEMON" --device "$2" && wait_for 10 no_ublk_disk
}

run_null_ublk() {
    fio_on_ublk "$1" null-ublk --depth 128 && wait_for 10 no_ublk_disk
}

# Its disk outlives it.
run_libublk_null() {
    fio_on_ublk "$1" "$LIBUBLK_NULL" add --foreground -n 0 -q 2 -d 128 || return
    "$LIBUBLK_NULL" del -n 0 >/dev/null
    wait_for 10 no_ublk_disk
}

# iommud, which has the IOMMU until the guest ends.
start_iommud() {
    answers && return
    modprobe uio_pci_generic
    mkdir -p /dev/hugepages
    mount -t hugetlbfs none /dev/hugepages
    echo 24 >/proc/sys/vm/nr_hugepages
    iommud >"$out/iommud.txt" 2>&1 9>&- &
    wait_for 20 answers
}

answers() { iommud inspect; } >/dev/null 2>&1
requests() { iommud inspect | awk '$1 == "requests:" { print $2 }'; }

run_pairs() {
    bind "$2" uio_pci_generic
    start_iommud && "$BENCH" --device "$2" "${@:3}" >"$out/$1"
}

# fio on our daemon's disk behind iommud. Leaves in INDEX.requests how many requests iommud had meanwhile.
run_behind() {
    bind "$2" uio_pci_generic
    start_iommud || return
    "$DAEMON" --device "$2" >"$out/$1.server" 2>&1 9>&- &
    local server=$! before after status
    wait_for 30 ublk_disk || return
    before=$(requests)
    DISK=$(ublk_disk) fio --output-format=json --output="$out/$1" "/rig/jobs.d/$1.fio"
    status=$?
    after=$(requests)
    kill "$server"
    wait "$server"
    # The one that asks for the second number is in it.
    echo "$((after - before - 1))" >"$out/$1.requests"
    wait_for 10 no_ublk_disk && return "$status"
}

# shellcheck disable=SC2086 # the modules are words
modprobe -a $MODULES
modprobe vfio-pci
modprobe ublk_drv
cd /tmp || exit
total=$(wc -l </rig/jobs)
while read -r runner index function arguments; do
    note "$((index + 1)) of $total"
    # shellcheck disable=SC2086 # the arguments are words
    if ! "run_$runner" "$index" "$function" $arguments 2>"$out/$index.err" </dev/null; then
        note "run $index ($runner $arguments) failed: $(tail -n 1 "$out/$index.err")"
        exit 1
    fi
done </rig/jobs
