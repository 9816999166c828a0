# Functions that every guest script has. They speak to the host over the control port, file
# descriptor 9, one line per message:
#
#   CHECK name: PASS detail     CHECK name: FAIL detail
#   NOTE text                   METRIC name value unit
#   HOST verb arguments         answered by "OK text" or "ERR text"

rig_open_control() {
    local port
    for port in /sys/class/virtio-ports/*; do
        if [ "$(cat "$port/name")" = rig.control ]; then
            exec 9<>"/dev/${port##*/}"
            return 0
        fi
    done
    echo "rig: no control port"
    return 1
}

# One line to the host, also seen on the serial console.
send() {
    echo "rig: $1"
    echo "$1" >&9
}

pass() { send "CHECK $1: PASS ${*:2}"; }
fail() { send "CHECK $1: FAIL ${*:2}"; }
note() { send "NOTE $*"; }
metric() { send "METRIC $1 $2 ${3:-}"; }

# check NAME COMMAND...: passes when the command does; its last line of output is the detail.
check() {
    local name=$1 output status
    shift
    output=$("$@" 2>&1)
    status=$?
    [ -n "$output" ] && echo "$output"
    output=$(tail -n 1 <<<"$output" | cut -c 1-200)
    if [ "$status" = 0 ]; then
        pass "$name" "$output"
    else
        fail "$name" "status $status: $output"
    fi
    return "$status"
}

# host VERB ARGUMENTS...: asks the host for something and prints its answer.
host() {
    local answer
    echo "HOST $*" >&9
    read -r answer <&9 || return 1
    case $answer in
    OK*) echo "${answer#OK}" | sed 's/^ //' ;;
    *)
        echo "${answer#ERR }"
        return 1
        ;;
    esac
}

# uncomplaining KIND...: the model says nothing against its driver but what is known of it.
uncomplaining() {
    local said kind
    said=$(host complaints "$MODEL") || return 1
    echo "${said:-nothing}"
    for kind in $said; do
        case " $* " in *" $kind "*) ;; *) return 1 ;; esac
    done
}

# wait_for SECONDS COMMAND...: repeats the command until it succeeds or the time is over.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# kernel_block_device PCI_ADDRESS: the disk that Linux's own driver made of a PCI function.
kernel_block_device() {
    local disk
    for disk in /sys/block/*; do
        case $(readlink -f "$disk") in
        */"$1"/*)
            echo "/dev/${disk##*/}"
            return 0
            ;;
        esac
    done
    return 1
}
