# Sourced before the shell of `cargo xtask qemu`: the driver's devices and its daemon.

. /rig/guest/block.sh
mkdir -p "$OUT"
modprobe nvme
start_spawner
echo
echo "$SUBJECT is being started by pcid-spawner, whose log is $SPAWNER_LOG."
echo "A file of the host's target/runs/$SUBJECT-interactive/share is /rig/FILE here, and the other way round."
