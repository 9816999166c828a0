# The disks of all drivers are tried by one program, which knows nothing of drivers.

. /rig/guest/storage.sh

FUNCTIONS=(0000:00:04.0 0000:00:05.0 0000:00:06.0 0000:00:07.0 0000:00:08.0)

# conforms FUNCTION [NUMBER]: what the program says of its checks is noted.
conforms() {
    local status line
    wait_for 60 subject_disk "$@" || { echo "no disk"; return 1; }
    block-check "$(subject_disk "$@")" >/tmp/conformance 2>&1
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
check "nvmed's disk conforms" conforms 0000:00:04.0
check "nvmed's disk with 4096-byte blocks conforms" conforms 0000:00:05.0
check "ahcid's disk conforms" conforms 0000:00:06.0 0
check "ahcid's disk with 4096-byte physical blocks conforms" conforms 0000:00:06.0 1
check "virtio-blkd's disk conforms" conforms 0000:00:07.0
check "virtio-blkd's disk with 4096-byte blocks conforms" conforms 0000:00:08.0
if [ "$SUBJECT" != linux ]; then
    check "the daemons outlive all of that" outlive
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
fi
exit 0
