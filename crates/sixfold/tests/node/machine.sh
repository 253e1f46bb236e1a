# An empty machine with a NIC, things of somebody else's, and a tunnel process.
mount -t tmpfs none /run
mkdir -p /run/sixfold
ip link set lo up
ip link add eth0 type veth peer name wire
ip link set eth0 up
ip link set wire up
ip link add mine0 type veth peer name mine1
echo 0 >/proc/sys/net/ipv6/conf/mine0/accept_dad # an address that is tentative and then is not has not changed
ip link set mine0 up
ip link set mine1 up
ip addr add 2001:db8:beef::1/64 dev mine0 nodad
ip route add 2001:db8:beef:1::/64 dev mine0
ip netns add theirs
ip -n theirs link add wg-of-theirs type veth peer name other
nft add table inet theirs
nft add chain inet theirs c '{ type filter hook input priority 0; }'

# What is not ours.
foreign() {
    ip -br link show type veth
    ip addr show dev mine0 | grep inet
    ip -6 route show dev mine0
    ip -n theirs -br link
    nft list table inet theirs
}

fail() {
    echo "$*"
    exit 1
}

A="--feed $D/snapshot.json --state /run/state --wireguard tunnel"
"$S" tunnel run 2>/run/tunnel.log &
for _ in $(seq 100); do [ -S /run/sixfold/tunnel.sock ] && break; sleep 0.05; done
foreign >/run/foreign.before
ip -br link >/run/links.before
