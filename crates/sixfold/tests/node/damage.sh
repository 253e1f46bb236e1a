# Waits up to three seconds for an agent that is in sync and has done more than $1 operations.
in_sync() {
    for _ in $(seq 60); do
        sleep 0.05
        [ -e /run/sixfold/status.json ] || continue
        json=$(tr -d ' \n' </run/sixfold/status.json)
        operations=$(echo "$json" | sed 's/.*"operations":\([0-9]*\).*/\1/')
        case "$json" in *'"in_sync":true'*) [ "$operations" -gt "$1" ] && return 0 ;; esac
    done
    fail "not in sync: $(cat /run/sixfold/status.json; cat /run/agent.log)"
}

"$S" agent $A 2>/run/agent.log &
agent=$!
in_sync 0
gateway=$(ip netns list | sed -n 's/^\(gw-1-[^ ]*\).*/\1/p')
net=$(ip netns list | sed -n 's/^\(net-[^ ]*\).*/\1/p' | head -1)
before=$operations
ip netns exec "$gateway" nft delete table inet sixfold
ip -n "$net" -6 route flush proto 200
in_sync "$before"
ip netns exec "$gateway" nft list table inet sixfold >/dev/null || fail "the firewall did not come back"
ip -n "$net" -6 route show proto 200 | grep -q . || fail "the routes did not come back"

kill -TERM "$agent"
wait "$agent" || fail "SIGTERM ended it with $?"
[ "$(wg show interfaces | wc -w)" -ge 2 ] || fail "the devices went with the agent"
"$S" agent $A 2>/run/agent.log &
agent=$!
sleep 0.5
kill -KILL "$agent"
wait "$agent" || true
"$S" agent $A --once | tee /run/again
grep -q ': 0 operations' /run/again || fail "the next agent changed something"
echo all is well
