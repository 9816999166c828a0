# Three nvmed, two ahcid and three virtio-blkd in one guest, all at work, and killed.

. /rig/guest/storage.sh

FUNCTIONS=()
for slot in 04 05 06 07 08 09 0a 0b; do
    FUNCTIONS+=("0000:00:$slot.0")
done

all_there() {
    local address
    for address in "${FUNCTIONS[@]}"; do
        subject_disk "$address" >/dev/null || { echo "no disk of $address"; return 1; }
    done
}

started() {
    wait_for 90 all_there || { all_there; return 1; }
    local address names=""
    for address in "${FUNCTIONS[@]}"; do
        names+="$(cat "/proc/$(daemon_pid "$address")/comm") "
    done
    echo "$names"
    [ "$names" = "nvmed nvmed nvmed ahcid ahcid virtio-blkd virtio-blkd virtio-blkd " ]
}

# verifies FUNCTION OPTION...
verifies() {
    verify_fio "$(subject_disk "$1")" 8m --bsrange=512-64k --iodepth=8 "${@:2}" >"/tmp/fio.$1" 2>&1
}

all_at_once() {
    local address jobs=() job
    wait_for 60 all_there || { all_there; return 1; }
    for address in "${FUNCTIONS[@]}"; do
        verifies "$address" --loops=3 &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || { tail -qn 1 /tmp/fio.*; return 1; }
    done
    grep -h -m 1 -E '^ *write:' /tmp/fio.* | grep -oE 'IOPS=[0-9.k]+' | tr '\n' ' '
}

# kill_and_wait FUNCTION...: kills their daemons together and waits until others are at work in their place.
kill_and_wait() {
    local address old=()
    for address in "$@"; do
        wait_for 60 advances "$(subject_disk "$address")" || { echo "no progress of $address"; return 1; }
        old+=("$(daemon_pid "$address")")
    done
    kill -9 "${old[@]}"
    for address in "$@"; do
        wait_for 60 respawned "$address" "${old[0]}" || { echo "$address is not respawned"; return 1; }
        wait_for 60 advances "$(subject_disk "$address")" || { echo "no progress of $address afterwards"; return 1; }
        old=("${old[@]:1}")
    done
}

kills_under_load() {
    local address jobs=() job status=0 from
    for address in "${FUNCTIONS[@]}"; do
        while [ ! -e /tmp/enough ]; do
            verifies "$address" || exit 1
        done &
        jobs+=($!)
    done
    for address in "${FUNCTIONS[@]}"; do
        kill_and_wait "$address" || status=1
        note "$address: its daemon was killed, $(daemon_pid "$address") is in its place"
        [ "$status" = 0 ] || break
    done
    from=$SECONDS
    [ "$status" = 0 ] && { kill_and_wait "${FUNCTIONS[@]}" || status=1; }
    touch /tmp/enough
    for job in "${jobs[@]}"; do
        wait "$job" || { tail -qn 1 /tmp/fio.*; status=1; }
    done
    for address in "${FUNCTIONS[@]}"; do
        [ "$(starts "$address")" = 3 ] || { echo "$address was started $(starts "$address") times"; status=1; }
    done
    [ "$status" = 0 ] && echo "16 kills, all eight are at work again after $((SECONDS - from)) s, no error, no miscompare"
    return "$status"
}

inspected() {
    local address
    for address in "${FUNCTIONS[@]}"; do
        "$(cat "/proc/$(daemon_pid "$address")/comm")" inspect --device "$address" >/tmp/inspect || return 1
        grep -qE '^Write +[1-9]' /tmp/inspect || { cat /tmp/inspect; return 1; }
    done
}

ended() {
    local address
    for address in "${FUNCTIONS[@]}"; do
        ! subject_disk "$address" >/dev/null || { echo "the disk of $address is still there"; return 1; }
    done
    echo "pcid-spawner ended with $ENDED"
    [ "$ENDED" = 0 ]
}

start "${FUNCTIONS[@]}" || exit
[ "$SUBJECT" = linux ] || check "eight daemons are started" started || exit
check "fio verifies on eight disks at once" all_at_once
if [ "$SUBJECT" != linux ]; then
    check "each daemon is killed, then all at once, under eight verifying fios" kills_under_load
    check "each of them can be inspected" inspected
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
    ENDED=$?
    check "SIGTERM ends all of them" ended
fi
exit 0
