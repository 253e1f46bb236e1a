# Secrets of every kind: key files, a device's keys, a preshared key, the environment, and one that got into the log.
export TOKEN="token-of-somebody-0123456789"
SIXFOLD_LOG=debug "$S" agent $A 2>>/run/agent.log &
agent=$!
for _ in $(seq 200); do grep -qs '"in_sync": true' /run/sixfold/status.json && break; sleep 0.05; done
device=$(wg show interfaces | tr ' ' '\n' | head -1)
peer=$(wg genkey | wg pubkey)
wg genpsk >/run/psk
# One with a slash: without its padding it is like a path.
for _ in $(seq 200); do wg genkey >/run/leaked; ! grep -q / /run/leaked || break; done
grep -q / /run/leaked || fail "no key has a slash"
wg set "$device" peer "$peer" preshared-key /run/psk
echo "private_key=$(cat /run/leaked) and $(base64 -d </run/leaked | od -An -v -tx1 | tr -d ' \n')" >>/run/agent.log
echo "unpadded: $(tr -d = </run/leaked), and on" >>/run/agent.log

secrets() {
    echo "$TOKEN"
    cat /run/psk /run/leaked
    wg show all private-key | cut -f 2 | sort -u
    for key in /run/state/keys/*; do base64 -w0 <"$key"; echo; done
}
secrets | grep -v '^$' | sort -u >/run/secrets
for secret in $(tail -n +1 /run/secrets | grep '=$'); do
    echo "$secret" | base64 -d | od -An -v -tx1 | tr -d ' \n'
    echo
    echo "${secret%=}"
done >>/run/secrets
[ "$(wc -l </run/secrets)" -ge 13 ] || fail "few secrets: $(wc -l </run/secrets)"

find /run/state /run/sixfold | sort >/run/files.before
"$S" bug-report --state /run/state --wireguard tunnel -o /run/report >/run/out || fail "exit code $?"
find /run/state /run/sixfold | sort | diff /run/files.before - || fail "it made or took a file"
grep -q 'the report is in /run/report: .* 0 parts are missing' /run/out || fail "$(cat /run/out; head -30 /run/report)"
grep -q 'read it before you send it' /run/out || fail "$(cat /run/out)"
[ "$(stat -c %a /run/report)" = 600 ] || fail "others may read it"
! grep -i -F -f /run/secrets /run/report || fail "a secret is in the report"
grep -q 'private_key=\[key removed\]' /run/report || fail "the log's key is not said to be gone"
grep -q 'unpadded: \[key removed\], and on' /run/report || fail "the key without padding is not said to be gone"
grep -q '"in_sync": true' /run/report || fail "no status"
grep -q '"node":' /run/report || fail "no snapshot"
"$S" bug-report --state /run/nowhere -o - >/run/nowhere.out
grep -q "hint: name the folder of the agent with --state" /run/nowhere.out || fail "it does not say what helps"
grep -q '^[0-9]* steps to revision' /run/report || fail "no plan"
grep -q "^pid $agent\$" /run/report || fail "no agent"
grep -q "$(wg show "$device" public-key)" /run/report || fail "no public key of $device"
grep -q 'net.ipv6.conf.all.forwarding  *[01]$' /run/report || fail 'no settings'
for netns in $(ip netns list | grep -v theirs | cut -d ' ' -f 1); do
    grep -q "^$netns: [1-9][0-9]* links" /run/report || fail "no $netns"
done
! grep -q theirs /run/report || fail "somebody else's namespace"
[ "$(wc -c </run/report)" -lt 4000000 ] || fail "long"

"$S" bug-report --state /run/state -o /run/report >/run/out 2>&1 && fail "written over a file"
grep -q 'hint: name another file with -o' /run/out || fail "$(cat /run/out)"

# Documentation prefixes stand for public ones.
"$S" bug-report --state /run/state --wireguard tunnel --redact -o - >/run/redacted
! grep -E '2001:db8|192\.0\.2\.|198\.51\.100|203\.0\.113' /run/redacted || fail "an address is left"
grep -q 'address-1' /run/redacted || fail "no address was there"
! grep -i -F -f /run/secrets /run/redacted || fail "a secret is in the redacted report"

# Once its agent is killed, and without rights: what is missing is said, and the rest is there.
kill -KILL "$agent"
wait "$agent" || true
cp "$S" /run/program
chmod 700 /run/state
setpriv --reuid 65534 --regid 65534 --clear-groups /run/program bug-report --state /run/state -o - >/run/poor ||
    fail "exit code $?"
for part in agent 'last good snapshot' 'what an agent would change' 'namespaces and what is in them'; do
    grep -q "  MISSING $part\$" /run/poor || fail "$part: $(cat /run/poor)"
done
grep -q '  here    versions' /run/poor || fail "$(cat /run/poor)"
grep -q 'no agent runs: nobody holds /run/sixfold/agent.lock' /run/poor || fail "$(cat /run/poor)"
grep -q 'caused by: Permission denied' /run/poor || fail "$(cat /run/poor)"
! grep -i -F -f /run/secrets /run/poor || fail "a secret is in the report without rights"
echo all is well
