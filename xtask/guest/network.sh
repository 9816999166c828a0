# Functions for scripts that try a network device: ours at ADDRESS, and beside it, on the same hub, Linux's own driver with another
# device at PEER, in a network namespace of its own. SUBJECT is the daemon under test, or "linux" to try the script itself on Linux's
# driver. OURS is the device's id in QEMU.

. /rig/guest/block.sh

# Our address and the peer's.
US=10.9.0.1
THEM=10.9.0.2

start_network_spawner() {
    modprobe vfio-pci && modprobe tun && modprobe 8021q || return 1
    spawner "$@" >>"$SPAWNER_LOG" 2>&1 9>&- &
    SPAWNER=$!
}

# kernel_interface PCI_ADDRESS: the interface that Linux's own driver made.
kernel_interface() { ls "/sys/bus/pci/devices/$1/net" 2>/dev/null | grep . ; }

# The daemon names its interface by the function's place: rbp0s4.
interface() {
    if [ "$SUBJECT" = linux ]; then
        kernel_interface "$ADDRESS"
    else
        local name
        name=rbp0s$((16#${ADDRESS:8:2}))
        [ -e "/sys/class/net/$name" ] && echo "$name"
    fi
}

# cable NAME on|off: plugs a cable of QEMU's in, or pulls it.
cable() {
    local up=false
    [ "$2" = on ] && up=true
    host qmp "{\"execute\": \"set_link\", \"arguments\": {\"name\": \"$1\", \"up\": $up}}" >/dev/null
}

carrier_is() { [ "$(cat "/sys/class/net/$IF/carrier" 2>/dev/null)" = "$1" ]; }

peer() { ip netns exec peer "$@"; }

# The peer gets a name space of its own, so that packets take the cable.
make_peer() {
    local name
    modprobe "$PEER_DRIVER" && wait_for 20 kernel_interface "$PEER" || return 1
    name=$(kernel_interface "$PEER")
    ip netns add peer && ip link set "$name" netns peer || return 1
    peer ip link set lo up
    peer ip link set "$name" name wire && peer ip link set wire up && peer ip address add "$THEM/24" dev wire &&
        echo "$name, $PEER_DRIVER"
}

spawned_without_link() {
    wait_for 30 interface || { tail -n 3 "$SPAWNER_LOG"; return 1; }
    [ "$SUBJECT" = linux ] || wait_for 10 daemon_pid "$ADDRESS" || { echo "not ready"; return 1; }
    IF=$(interface)
    ip link set "$IF" up
    sleep 1
    carrier_is 0 && echo "$IF, without a carrier"
}

plugged() {
    cable "$OURS" on || return 1
    wait_for 15 carrier_is 1 && ip -br link show "$IF"
}

lease() {
    busybox udhcpc -i "$IF" -n -q -t 5 -s /rig/guest/udhcpc.sh 2>&1 | tail -n 2
    ip -4 -br address show "$IF" | grep -o '10\.0\.2\.[0-9]*/24'
}

# pings SIZE...: with that many bytes of data, not to be cut, both ways.
pings() {
    local size
    for size in "$@"; do
        ping -c 3 -i 0.2 -W 3 -M do -s "$size" -q "$THEM" >/tmp/ping || { echo "$size bytes:"; tail -n 2 /tmp/ping; return 1; }
        peer ping -c 3 -i 0.2 -W 3 -M do -s "$size" -q "$US" >/tmp/ping || { echo "$size bytes, from the peer:"; tail -n 2 /tmp/ping; return 1; }
    done
    echo "$* bytes: all came back"
}

addressed() { ip address replace "$US/24" dev "$IF" && pings 56; }

# jumbo [MTU]: frames with that many bytes of packet, or else 9,000.
jumbo() {
    local mtu=${1:-9000}
    ip link set "$IF" mtu "$mtu" && peer ip link set wire mtu "$mtu" || return 1
    sleep 2
    pings 1473 4000 $((mtu - 809)) $((mtu - 29)) $((mtu - 28))
}

listens() { peer ss -ltn | grep -q ':5201 '; }

# server: an iperf3 server of the peer's, for one test.
server() {
    peer iperf3 -s -1 >/tmp/iperf3.server 2>&1 9>&- &
    wait_for 10 listens
}

# iperf NAME OPTION...: a test against the peer, with a metric.
iperf() {
    local name=$1 rate
    shift
    server
    iperf3 -c "$THEM" -f m "$@" >"$OUT/iperf3.$name.txt" 2>&1 || { cat /tmp/iperf3.server; tail -n 2 "$OUT/iperf3.$name.txt"; return 1; }
    rate=$(awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == "Mbits/sec") rate = $i } END { print rate }' "$OUT/iperf3.$name.txt")
    metric "$name" "$rate" Mbit/s
    grep receiver "$OUT/iperf3.$name.txt" | tail -n 1
    awk -v rate="$rate" 'BEGIN { exit !(rate > 0) }'
}

# transfer MIB TO_PEER: random bytes by TCP, compared by their checksums. 1: from us, 0: to us.
transfer() {
    local bytes=$(($1 << 20)) sender=peer receiver= target=$US
    [ "$2" = 1 ] && sender= receiver=peer target=$THEM
    rm -f /tmp/sent /tmp/received
    # The listener would end the connection with its own input: this one never ends.
    [ -p /tmp/never ] || mkfifo /tmp/never
    $receiver timeout 300 busybox nc -l -p 5001 0<>/tmp/never 2>/tmp/nc | sha256sum >/tmp/received 9>&- &
    local job=$!
    sleep 1
    head -c "$bytes" /tmp/stream | tee >(sha256sum >/tmp/sent) | $sender timeout 300 busybox nc "$target" 5001 || { echo "the sender failed"; return 1; }
    wait "$job"
    sleep 0.5
    cmp /tmp/sent /tmp/received && echo "$1 MiB, $(cut -c 1-16 /tmp/sent)"
}

vlan() {
    ip link add link "$IF" name "$IF.5" type vlan id 5 && ip address add 10.10.0.1/24 dev "$IF.5" && ip link set "$IF.5" up || return 1
    peer ip link add link wire name wire.5 type vlan id 5 && peer ip address add 10.10.0.2/24 dev wire.5 && peer ip link set wire.5 up || return 1
    ping -c 3 -i 0.2 -W 3 -M do -s 1472 -q 10.10.0.2 && peer ping -c 3 -i 0.2 -W 3 -q 10.10.0.1 | tail -n 1
    local status=$?
    ip link delete "$IF.5"
    peer ip link delete wire.5
    return "$status"
}

# The peer finds us by a group that only we have joined, and we the peer.
neighbours() {
    local ours theirs
    ours=$(ip -6 -br address show dev "$IF" scope link | grep -o 'fe80[^/]*')
    theirs=$(peer ip -6 -br address show dev wire scope link | grep -o 'fe80[^/]*')
    [ -n "$ours" ] && [ -n "$theirs" ] || { echo "no link-local address: $ours $theirs"; return 1; }
    ip -6 neighbour flush dev "$IF"
    peer ip -6 neighbour flush dev wire
    peer ping -6 -c 2 -W 3 -q "$ours%wire" || return 1
    ping -6 -c 2 -W 3 -q "$theirs%$IF" >/dev/null || return 1
    grep "$IF" /proc/net/dev_mcast | wc -l | sed 's/$/ groups are joined/'
}

# loaded COMMAND...: does something while a checked transfer to the peer is under way.
loaded() {
    rm -f /tmp/loaded
    transfer 64 1 >/tmp/loaded 2>&1 9>&- &
    local job=$!
    sleep 4
    kill -0 "$job" || { echo "the transfer ended before"; return 1; }
    "$@" || return 1
    wait "$job" || { cat /tmp/loaded; return 1; }
    tail -n 1 /tmp/loaded
}

pull_and_plug() {
    cable "$OURS" off && wait_for 10 carrier_is 0 || { echo "the carrier stays"; return 1; }
    sleep 2
    cable "$OURS" on && wait_for 15 carrier_is 1 || { echo "no carrier"; return 1; }
}

kill_daemon() {
    local old
    old=$(daemon_pid "$ADDRESS")
    kill -9 "$old"
    wait_for 30 respawned "$ADDRESS" "$old" || { echo "not respawned"; return 1; }
    wait_for 15 carrier_is 1
}

inspected() {
    "$SUBJECT" inspect --device "$ADDRESS" >"$OUT/inspect.txt" || return 1
    grep -q '^link: up' "$OUT/inspect.txt" && grep -E '^rx_packets: [1-9]' "$OUT/inspect.txt"
}

little_memory() {
    local kib
    kib=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$(daemon_pid "$ADDRESS")/status") || return 1
    metric memory "$kib" KiB
    echo "$kib KiB"
    [ "$kib" -gt 0 ] && [ "$kib" -lt $((24 * 1024)) ]
}

# Not within a check: only the shell that started pcid-spawner can wait for it.
end_network_spawner() {
    OLD=$(daemon_pid "$ADDRESS")
    kill -TERM "$SPAWNER"
    wait "$SPAWNER"
    ENDED=$?
}

clean_end() {
    wait_for 20 test ! -d "/proc/$OLD" || { echo "the daemon is still there"; return 1; }
    echo "pcid-spawner ended with $ENDED; no interface $IF"
    [ "$ENDED" = 0 ] && [ ! -e "/sys/class/net/$IF" ]
}

# It writes what it receives: somebody asks everybody for an address that nobody has.
stray_receive() {
    peer ping -c 100 -i 0.2 10.9.0.77 >/dev/null 2>&1 9>&- &
    stray_dma
}

# Everything that goes over a wire whose ends have a link.
traffic() {
    check "pings both ways" addressed
    check "pings of every size to the MTU" pings 0 1 17 18 64 500 1000 1471 1472
    check "IPv6 neighbours find each other" neighbours
    check "VLAN" vlan
    check "TCP to the peer" iperf tcp_to_peer -t 5
    check "TCP from the peer" iperf tcp_from_peer -t 5 -R
    check "UDP to the peer" iperf udp_to_peer -u -b 20M -t 5
    check "UDP from the peer" iperf udp_from_peer -u -b 20M -t 5 -R
    # For transfers that are compared: random bytes.
    head -c "$((MIB << 20))" /dev/urandom >/tmp/stream
    check "bytes to the peer arrive unchanged" transfer "$MIB" 1
    check "bytes from the peer arrive unchanged" transfer "$MIB" 0
}
