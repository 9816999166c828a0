#!/bin/bash
# Second stage of a guest's boot, in the shared root: finds the control port, runs the script that
# the host asked for and tells the host how it ended.

export PATH=/rig/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM="${TERM:-linux}" LC_ALL=C
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t tmpfs cgroup /sys/fs/cgroup 2>/dev/null
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /etc/mtab ] || ln -s /proc/self/mounts /etc/mtab
ip link set lo up
echo rig >/proc/sys/kernel/hostname

. /rig/guest/lib.sh
. /rig/env
rig_open_control
cd /root || exit

if [ -n "$RIG_INTERACTIVE" ]; then
    send READY
    . "/rig/guest/$RIG_SCRIPT"
    echo "The guest ends with this shell. Daemons are in /rig/bin; the scripts in /rig/guest."
    setsid busybox cttyhack /bin/bash -i
    status=$?
else
    send READY
    bash -c '. /rig/guest/lib.sh; . "/rig/guest/$RIG_SCRIPT"'
    status=$?
fi
send "EXIT $status"
sync
echo o >/proc/sysrq-trigger
sleep 60
