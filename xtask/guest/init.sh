#!/bin/busybox sh
# First program of a guest: mounts the shared root and goes on there.
#
#   root     the userland, read-only, below a tmpfs overlay
#   modules  the kernel's modules
#   run      /rig of the guest: scripts, daemons, results

b=/bin/busybox
fail() {
    echo "rig: init: $*"
    $b poweroff -f
}

$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do
    $b insmod "/modules/$module" || fail "cannot load $module"
done </modules/order

options=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o "ro,cache=loose,$options" root /lower || fail "no root share"
$b mount -t tmpfs -o size=80% tmpfs /upper || fail "no tmpfs"
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /newroot ||
    fail "no overlay"

release=$($b uname -r)
$b mkdir -p "/newroot/lib/modules/$release" /newroot/rig
$b mount -t 9p -o "ro,cache=loose,$options" modules "/newroot/lib/modules/$release" ||
    fail "no modules share"
$b mount -t 9p -o "rw,cache=none,$options" run /newroot/rig || fail "no run share"
for directory in proc sys dev; do
    $b mount -o move "/$directory" "/newroot/$directory" || fail "cannot move /$directory"
done
exec $b switch_root /newroot /bin/bash /rig/guest/boot.sh
fail "no boot script"
