# Prints every line that four processes logged as JSON: an agent whose tunnel is missing and then comes, one that is
# refused beside it, and a tunnel.
"$S" --log-json tunnel run --control /run/later.sock --uapi /run/later 2>/run/log.tunnel &
tunnel=$!
forged=$(printf '/run/half\nERROR forged\033[31m.json')
echo '{ half' >"$forged"
"$S" --log debug --log-json agent --state /run/state --wireguard tunnel --tunnel /run/away.sock --feed /run/in.json \
    2>/run/log.agent &
agent=$!
cp "$D/snapshot.json" /run/in.new
mv /run/in.new /run/in.json
for _ in $(seq 200); do grep -qs 'is the tunnel\|tunnel run' /run/sixfold/status.json && break; sleep 0.05; done
ln -s /run/sixfold/tunnel.sock /run/away.sock
for _ in $(seq 200); do grep -qs '"in_sync": true' /run/sixfold/status.json && break; sleep 0.05; done
grep -q '"in_sync": true' /run/sixfold/status.json || fail "$(cat /run/sixfold/status.json)"
cp "$forged" /run/in.new
mv /run/in.new /run/in.json
for _ in $(seq 100); do grep -q 'is no snapshot' /run/log.agent && break; sleep 0.05; done
SIXFOLD_LOG_FORMAT=json "$S" agent --state /run/state --feed /run/in.json 2>/run/log.second && fail "two agents"
kill -INT "$agent" "$tunnel"
wait "$agent" || fail "the agent ended with $?"
wait "$tunnel" || fail "the tunnel ended with $?"

# As text, a file's name forges no line and moves no cursor.
"$S" agent --state /run/state --wireguard tunnel --feed "$forged" 2>/run/log.text &
agent=$!
for _ in $(seq 100); do grep -q 'is no snapshot' /run/log.text && break; sleep 0.05; done
kill -INT "$agent"
wait "$agent"
grep -q 'forged' /run/log.text || fail "nothing of the file: $(cat /run/log.text)"
! grep -v '^20[0-9-]*T[0-9:.]*Z  *[A-Z]* [a-z_:]*: ' /run/log.text || fail "a line that no event began"
! grep -q "$(printf '\033')" /run/log.text || fail "an escape"

for key in /run/state/keys/*; do
    ! grep -F "$(base64 -w0 <"$key")" /run/log.* || fail "a private key was logged"
    ! grep -i -F "$(od -An -v -tx1 <"$key" | tr -d ' \n')" /run/log.* || fail "a private key was logged"
done
for part in tunnel agent second; do sed "s/^/$part /" "/run/log.$part"; done
echo all is well
