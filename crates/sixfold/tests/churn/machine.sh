# An empty machine with a NIC, a tunnel process and an agent; it ends with its standard input.
if [ -n "$LIMIT" ]; then echo "$LIMIT" >/proc/sys/user/max_net_namespaces; fi
mount -t tmpfs none /run
mkdir -p /run/sixfold
ip link set lo up
ip link add eth0 type veth peer name wire
ip link set eth0 up
ip link set wire up
"$S" tunnel run 2>/run/tunnel.log &
for _ in $(seq 200); do [ -S /run/sixfold/tunnel.sock ] && break; sleep 0.05; done
"$S" agent --feed /run/sixfold/snapshot.json --state /run/state --wireguard tunnel 2>/run/agent.log &
echo up
while read -r _; do :; done
