# rtl8168d carries the network: a model of its chip, which QEMU lacks, behind the guest's IOMMU, with a cable to a model of an 82545EM
# that Linux drives. The cable is always in: nobody pulls it. With LARGE, the daemon was started for packets of that many bytes.

. /rig/guest/network.sh

spawned_with_link() {
    wait_for 30 interface || { tail -n 3 "$SPAWNER_LOG"; return 1; }
    IF=$(interface)
    wait_for 10 daemon_pid "$ADDRESS" || { echo "not ready"; return 1; }
    ip link set "$IF" up
    wait_for 15 carrier_is 1 && ip -br link show "$IF"
}

check "the peer is Linux's" make_peer || exit
if [ "$SUBJECT" = linux ]; then
    modprobe -a "$LINUX_DRIVER" 8021q
else
    # Here and not in a check, whose subshell would be its parent.
    start_network_spawner
fi
check "spawned, and the link comes" spawned_with_link || exit
IF=$(interface) || exit
traffic
if [ -n "$LARGE" ]; then
    check "large frames" jumbo "$LARGE"
    check "TCP with large frames" iperf tcp_jumbo -t 5
fi
if [ "$SUBJECT" != linux ]; then
    check "a connection survives SIGKILL" loaded kill_daemon
    check "the running daemon can be inspected" inspected
    check "resident memory below 24 MiB" little_memory
    end_network_spawner
    check "SIGTERM ends the daemon cleanly" clean_end
    # shellcheck disable=SC2086
    MODEL=ours check "nothing forbidden was done" uncomplaining $KNOWN
fi
exit 0
