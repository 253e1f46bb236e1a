code() {
    "$S" agent "$@" >/run/out 2>&1 && echo 0 || echo $?
}

[ "$(code --feed /run/none.json --state /run/other --run /run/other --once)" = 3 ] || fail "$(cat /run/out)"
grep -q 'no snapshot: /run/none.json is not there' /run/out || fail "$(cat /run/out)"
echo '{ half' >/run/half.json
[ "$(code --feed /run/half.json --state /run/other --run /run/other --once)" = 1 ] || fail "$(cat /run/out)"
grep -q 'half.json is no snapshot' /run/out || fail "$(cat /run/out)"
[ "$(code $A --tunnel /run/none.sock --once)" = 3 ] || fail "$(cat /run/out)"
grep -q 'hint: start it: sixfold tunnel run' /run/out || fail "$(cat /run/out)"
[ "$(code $A --once)" = 0 ] || fail "$(cat /run/out)"

# The feed beside the agent's own status file, which changes with each pass.
cp "$D/snapshot.json" /run/sixfold/snapshot.json
"$S" agent --feed /run/sixfold/snapshot.json --state /run/state --wireguard tunnel 2>/run/agent.log &
agent=$!
sleep 0.3
[ "$(code $A --once)" = 3 ] || fail "two agents: $(cat /run/out)"
grep -q 'another agent is running' /run/out || fail "$(cat /run/out)"
sleep 2.2
passes=$(sed -n 's/.*"passes": \([0-9]*\).*/\1/p' /run/sixfold/status.json)
[ "$passes" -le 4 ] || fail "$passes passes in two and a half seconds"
# A new one is taken up soon.
sed 's/"revision": [0-9]*/"revision": 1000/' "$D/snapshot.json" >/run/sixfold/new
mv /run/sixfold/new /run/sixfold/snapshot.json
for _ in $(seq 20); do grep -q '"revision": 1000' /run/sixfold/status.json && break; sleep 0.05; done
grep -q '"revision": 1000' /run/sixfold/status.json || fail "$(cat /run/sixfold/status.json /run/agent.log)"
kill -INT "$agent"
wait "$agent" || fail "SIGINT ended it with $?"
echo all is well
