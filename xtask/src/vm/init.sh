#!/bin/sh
# The guest's first process: lays a writable layer in memory over the host's root, which it sees read-only, runs the
# command there, leaves its exit code in the output folder and powers off.
# From the kernel's command line: vm.KVER, vm.KROOT (the unpacked kernel package) and vm.OUT (the output folder).
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for word in $(cat /proc/cmdline); do
    case $word in vm.*) eval "${word#vm.}" ;; esac
done
while read -r module; do insmod "/modules/$module"; done </modules/order

nine=trans=virtio,version=9p2000.L,msize=262144
mount -t 9p -o "$nine,ro,cache=loose" hostroot /host || poweroff -f
mount -t tmpfs -o mode=755 upper /upper
mkdir -p /upper/files /upper/work
mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work root /new || poweroff -f

mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new/run/netns /new/lib/modules "/new/$OUT"
ln -sfn "$KROOT/lib/modules/$KVER" "/new/lib/modules/$KVER"
mount -t 9p -o "$nine,cache=none" hostout "/new/$OUT" || poweroff -f

# The console is the command's; a panic still raises its own voice.
echo 0 >/proc/sys/kernel/printk
# The new root is moved over the first one: a process that enters a mount namespace is put at that namespace's root,
# which must be this one and not what lies beneath.
cd /new || poweroff -f
mount -o move . / || poweroff -f
chroot . /bin/sh "$OUT/command" </dev/null
echo $? >".$OUT/code"
sync
poweroff -f
