#!/usr/bin/dash
# First process of a guest: mounts, modules for the agent's port, then the agent. With `shell` on the kernel's command
# line it also gives a shell on the serial console, as soon as there is a file /run/console.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=vt100
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug
hostname guest
ip link set lo up
modprobe virtio_pci
# Devices behind an IOMMU of virtio, whose PCI device is 1057h, wait for its driver.
if grep -qs 0x1057 /sys/bus/pci/devices/*/device; then
    modprobe virtio_iommu
fi
modprobe virtio_console

# The console shows the kernel's warnings from here on: what was said while booting is in dmesg.
echo 5 >/proc/sys/kernel/printk

port=
while [ -z "$port" ]; do
    for name in /sys/class/virtio-ports/*/name; do
        [ "$(cat "$name" 2>/dev/null)" = agent ] && port=$(basename "$(dirname "$name")")
    done
    [ -n "$port" ] || usleep 10000
done
agent </dev/null "/dev/$port" &

if grep -qw shell /proc/cmdline; then
    until [ -e /run/console ]; do
        usleep 50000
    done
    # The end of the shell is the end of the guest.
    setsid -c bash -l </dev/ttyS0 >/dev/ttyS0 2>&1
    poweroff -f
fi
while :; do
    sleep 3600 &
    wait $!
done
