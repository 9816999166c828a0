# Models of network controllers at the ends of a cable, judged by Linux's own drivers. KNOWN of the drivers is what is not held
# against them, COUNTED the names of what ethtool says that a device sent and received, LARGE the most bytes of a packet that both
# ends take, if large ones are tried.

. /rig/guest/network.sh

SUBJECT=linux MODEL=ours

linked() {
    modprobe -a 8021q "$LINUX_DRIVER" && make_peer && wait_for 20 kernel_interface "$ADDRESS" || return 1
    IF=$(kernel_interface "$ADDRESS")
    ip link set "$IF" up && ip address add "$US/24" dev "$IF" || return 1
    wait_for 20 carrier_is 1 || { ip link show "$IF"; return 1; }
    wait_for 20 eval 'peer ip -br link show wire | grep -q LOWER_UP' || { peer ip link show wire; return 1; }
    echo "$IF and $(peer ip -br link show wire)"
}

streams() {
    head -c 64M /dev/urandom >/tmp/stream
    transfer 64 1 && transfer 64 0
}

# Linux has some of them off for some chips.
offloads() { ethtool -K "$IF" tx on sg on tso on && ethtool -k "$IF" | grep 'tcp-segmentation-offload: on' && ethtool -k "$IF" | grep 'tx-checksumming: on'; }

# counter SIDE NAME: what a device counted. Drivers ask once in two seconds.
counter() {
    case $1 in
    us) ethtool -S "$IF" ;;
    them) peer ethtool -S wire ;;
    esac | awk -v name="$2:" '$1 == name { print $2 }'
}

# What one end sent the other received. The counters are the devices', not the drivers'.
counters() {
    local sent received
    read -r sent received <<<"$COUNTED"
    sleep 3
    set -- $(($(counter us "$sent"))) $(($(counter them "$received")))
    ping -i 0.01 -c 200 -q "$THEM" >/dev/null || return 1
    sleep 3
    set -- $(($(counter us "$sent") - $1)) $(($(counter them "$received") - $2))
    echo "200 pings, $1 frames sent, $2 received"
    [ "$1" -ge 200 ] && [ "$1" = "$2" ]
}

check "Linux's drivers find both ends and a link" linked || exit
IF=$(kernel_interface "$ADDRESS")
check "pings of every size to the MTU, both ways" pings 0 1 17 18 64 500 1000 1471 1472
check "IPv6 neighbours find each other" neighbours
check "VLAN" vlan
check "checksums and TSO are on" offloads
check "TCP to the peer" iperf tcp_to_peer -t 5
check "TCP from the peer" iperf tcp_from_peer -t 5 -R
check "UDP to the peer" iperf udp_to_peer -u -b 20M -t 5
check "64 MiB by TCP each way arrive unchanged" streams
if [ -n "$LARGE" ]; then
    check "large frames" jumbo "$LARGE"
    check "TCP with large frames" iperf tcp_jumbo -t 5
fi
check "the devices' own counters agree" counters
# shellcheck disable=SC2086
check "nothing forbidden was done but what is known" uncomplaining $KNOWN
exit 0
