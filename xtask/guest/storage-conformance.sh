# The disks of all drivers are tried by one program, which knows nothing of drivers.

. /rig/guest/storage.sh

FUNCTIONS=(0000:00:04.0 0000:00:05.0 0000:00:06.0 0000:00:07.0 0000:00:08.0)

# conforms LOGICAL PHYSICAL FUNCTION [NUMBER]: a disk with blocks of these sizes passes all checks, none skipped. What the program
# says of them is noted.
conforms() {
    local status line disk sizes="$1 $2"
    shift 2
    wait_for 60 subject_disk "$@" || { echo "no disk"; return 1; }
    disk=$(subject_disk "$@")
    [ "$(blockdev --getss --getpbsz "$disk" | xargs)" = "$sizes" ] || { echo "blocks are not of $sizes bytes"; return 1; }
    block-check "$disk" >/tmp/conformance 2>&1
    status=$?
    while read -r line; do note "$line"; done </tmp/conformance
    tail -n 1 /tmp/conformance
    return "$status"
}

outlive() {
    local address
    for address in "${FUNCTIONS[@]}"; do
        daemon_pid "$address" >/dev/null && [ "$(starts "$address")" = 1 ] || { echo "$address was restarted"; return 1; }
    done
    echo "${#FUNCTIONS[@]} daemons, each started once"
}

start "${FUNCTIONS[@]}" || exit
check "nvmed's disk conforms" conforms 512 512 0000:00:04.0
check "nvmed's disk with 4096-byte blocks conforms" conforms 4096 4096 0000:00:05.0
check "ahcid's disk conforms" conforms 512 512 0000:00:06.0 0
check "ahcid's disk with 4096-byte physical blocks conforms" conforms 512 4096 0000:00:06.0 1
check "virtio-blkd's disk conforms" conforms 512 512 0000:00:07.0
check "virtio-blkd's disk with 4096-byte blocks conforms" conforms 4096 4096 0000:00:08.0
if [ "$SUBJECT" != linux ]; then
    check "the daemons outlive all of that" outlive
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
fi
exit 0
