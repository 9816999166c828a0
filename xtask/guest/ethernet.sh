# A network daemon carries the network: leases, large frames, VLANs, and connections that outlive cables and daemons. STRAY: whether
# the program that has devices do DMA elsewhere knows the device.

. /rig/guest/network.sh

cable "$OURS" off || exit
check "the peer is Linux's" make_peer || exit
if [ "$SUBJECT" = linux ]; then
    modprobe "$LINUX_DRIVER" && modprobe 8021q
else
    # Here and not in a check, whose subshell would be its parent.
    start_network_spawner
fi
check "spawned without a link" spawned_without_link || exit
IF=$(interface) || exit
check "the link comes when the cable does" plugged
check "DHCP lease" lease
check "pings of a router" ping -c 3 -i 0.2 -W 3 -q 10.0.2.2
# QEMU's network takes every packet on the wire for its own, and resets connections of others.
cable world off || exit
traffic
check "a connection survives the cable" loaded pull_and_plug
if [ "$SUBJECT" != linux ]; then
    check "a connection survives SIGKILL" loaded kill_daemon
    check "the running daemon can be inspected" inspected
    check "resident memory below 24 MiB" little_memory
fi
check "frames of 9,000 bytes" jumbo
check "TCP with frames of 9,000 bytes" iperf tcp_jumbo -t 5
if [ "$SUBJECT" != linux ]; then
    end_network_spawner
    check "SIGTERM ends the daemon cleanly" clean_end
fi
[ "$STRAY" = 0 ] || check "DMA outside a map is blocked" stray_receive
exit 0
