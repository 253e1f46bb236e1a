# What the kernel tells of is repaired where it is, without a look at everything: each damage several times, since the
# timer may come first; at least once it is the event that leads to it.
SIXFOLD_LOG=sixfold_agent=debug "$S" agent $A 2>>/run/agent.log &
agent=$!
for _ in $(seq 60); do grep -q '"in_sync": true' /run/sixfold/status.json 2>/dev/null && break; sleep 0.05; done
net=$(ip netns list | sed -n 's/^\(net-[^ ]*\).*/\1/p' | head -1)
gateway=$(ip netns list | sed -n 's/^\(gw-1-[^ ]*\).*/\1/p')
to=$(ip -n "$gateway" -br link | sed -n 's/^\(to-[^@ ]*\).*/\1/p' | head -1)
ip -n "$net" -6 route show proto 200 | sort >/run/routes
ip -n "$gateway" -6 route show proto 200 | sort >/run/gateway-routes
load=$(ip netns list | sed -n 's/^\(load-[^ ]*\).*/\1/p' | head -1)
address=$(ip -n "$load" -o -6 address show dev eth0 scope global | awk '{ print $4; exit }')
loads() { ip -n "$load" -o -6 address show dev eth0 scope global 2>/dev/null | awk '{ print $4 }' | grep -qxF "$address"; }
loads || fail "no address in $load"
hops() { ip -n "$gateway" nexthop show | sed 's/ linkdown//' | sort; }
hops >/run/hops
[ -s /run/hops ] || fail "no nexthop in $gateway"
neighbours() { ip -n "$gateway" neigh show nud permanent | sort; }
neighbours >/run/neighbours
[ -s /run/neighbours ] || fail "no neighbour in $gateway"
in_gateway() { ip netns exec "$gateway" nft "$@"; }
in_gateway -s list table inet sixfold >/run/firewall
out() { in_gateway -a list chain inet sixfold forward | sed -n 's/.* comment "out" # handle //p'; }

# Damages by $1 until an event is heard of in namespace $2; each time, $3 must hold again within a second.
heard() {
    for _ in $(seq 6); do
        sleep 1.6 # past the pass that its own repair led to, and between two ticks of the timer
        : >/run/agent.log
        eval "$1"
        for _ in $(seq 24); do
            if eval "$3"; then break; fi
            sleep 0.05
        done
        eval "$3" || fail "not repaired within a second: $1; $(cat /run/agent.log)"
        grep "heard" /run/agent.log | grep -q "told=Only.*$2" && return 0
    done
    fail "no event of $2 led to a pass: $(cat /run/agent.log)"
}

heard 'ip -n "$net" -6 route flush proto 200' "$net" \
    'ip -n "$net" -6 route show proto 200 | sort | cmp -s - /run/routes'
heard 'in_gateway delete rule inet sixfold forward handle $(out)' "$gateway" \
    'in_gateway -s list table inet sixfold | cmp -s - /run/firewall'
heard 'in_gateway add element inet sixfold bogons "{ 2001:db8:666::/48 }"' "$gateway" \
    'in_gateway -s list table inet sixfold | cmp -s - /run/firewall'
heard 'ip -n "$gateway" link del "$to"' "$gateway" \
    'ip -n "$gateway" -6 route show proto 200 2>/dev/null | sort | cmp -s - /run/gateway-routes'
heard 'ip -n "$load" address del "$address" dev eth0' "$load" loads
heard 'ip -n "$gateway" nexthop flush proto 200' "$gateway" 'hops | cmp -s - /run/hops'
heard 'ip -n "$gateway" neigh flush nud permanent' "$gateway" 'neighbours | cmp -s - /run/neighbours'
heard 'ip netns del "$load"' "$load" loads
for _ in $(seq 40); do grep -q '"in_sync": true' /run/sixfold/status.json && break; sleep 0.05; done
grep -q '"in_sync": true' /run/sixfold/status.json || fail "$(cat /run/sixfold/status.json)"
kill -TERM "$agent"
wait "$agent" || fail "SIGTERM ended it with $?"
"$S" agent $A --once | tee /run/again
grep -q ': 0 operations' /run/again || fail "an event led to half a repair"
echo all is well
