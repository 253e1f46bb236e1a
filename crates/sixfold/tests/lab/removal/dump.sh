# All there is in this node's namespaces, beside them and in its processes: sections, each after a line `@@ NAME`.
IN='
echo "@@ $1 links and addresses"; ip -j -d address
echo "@@ $1 routes"; ip -j -6 route show table all
echo "@@ $1 routes v4"; ip -j -4 route show table all
echo "@@ $1 rules"; ip -j -6 rule
echo "@@ $1 rules v4"; ip -j -4 rule
echo "@@ $1 nexthops"; ip -j nexthop
echo "@@ $1 neighbours"; ip -j neighbour show nud permanent
echo "@@ $1 ruleset"; nft -j list ruleset
echo "@@ $1 sockets"
for kind in tcp tcp6 udp udp6 udplite udplite6 raw raw6 icmp icmp6 packet netlink unix; do
    [ -e /proc/net/$kind ] || continue
    while read -r line; do echo "$kind $line"; done </proc/net/$kind
done'
names=$(ip netns list | cut -d " " -f 1 | sort)
echo "@@ namespaces"
for name in $names; do echo "$name"; done
sh -c "$IN" in "its own"
for name in $names; do ip netns exec "$name" sh -c "$IN" in "$name"; done
for what in public-key peers allowed-ips persistent-keepalive listen-port; do
    echo "@@ $what"
    wg show all $what
done
echo "@@ files"
# What owners and the registry keep is no trace on a node; nor that an agent has followed a registry, or has had a device.
find /run -path /run/lab/files -prune -o -path /run/lab/keys -prune -o -path /run/lab/registry -prune -o \
    ! -path '*/state/proofs.[ab]' ! -path '*/state/devices.json' -printf '%p %y %m\n'
echo "@@ mounts"
cut -d " " -f 4,5 /proc/self/mountinfo
me=$(readlink /proc/self/ns/mnt)
for process in /proc/[0-9]*; do
    [ "$(readlink $process/ns/mnt)" = "$me" ] || continue
    name=$(tr '\0' '\n' <$process/cmdline | sed -n 2p)
    case $name in
        agent | tunnel)
            echo "@@ descriptors of the $name"
            for descriptor in $process/fd/*; do readlink $descriptor; done
            ;;
    esac
done
# A descriptor that was closed just now is none.
true
