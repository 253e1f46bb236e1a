"$S" plan $A --exit-code >/run/plan.sh && fail "nothing to do on an empty machine"
sh -n /run/plan.sh
[ -e /run/state ] && fail "a plan made something"
"$S" agent $A --once
wg show interfaces
[ "$(wg show interfaces | wc -w)" -ge 2 ] || fail "no devices"
"$S" agent $A --once | tee /run/again
grep -q ': 0 operations' /run/again || fail "the second round changed something"
"$S" plan $A --exit-code
[ "$(stat -c %a /run/state/keys)" = 700 ] || fail "keys are open"
for key in /run/state/keys/*; do [ "$(stat -c %a "$key")" = 600 ] || fail "$key is open"; done
foreign | diff /run/foreign.before - || fail "somebody else's things changed"

"$S" agent --remove --state /run/state
foreign | diff /run/foreign.before - || fail "somebody else's things went along"
[ "$(ip netns list | wc -l)" = 1 ] || fail "namespaces are left: $(ip netns list)"
[ "$(ip -br link | wc -l)" = "$(wc -l </run/links.before)" ] || fail "links are left: $(ip -br link)"
[ "$(nft list tables | wc -l)" = 1 ] || fail "tables are left: $(nft list tables)"
[ -z "$(wg show interfaces)" ] || fail "devices are left"
[ ! -e /run/state ] || fail "files are left: $(find /run/state)"
[ "$(ls /run/sixfold)" = tunnel.sock ] || fail "files are left: $(ls /run/sixfold)"
echo all is well
