# All of a node that `ip`, `nft` and `ss` show, a section for each question; $S is the binary.
links='link show
address show
neigh show nud permanent
nexthop show'
routes='route show table all
rule show'
for netns in host $(ls /run/netns 2>/dev/null); do
    case $netns in
    host) ip=ip enter= ;;
    *) ip="ip -n $netns" enter="nsenter --net=/run/netns/$netns" ;;
    esac
    echo "# json $netns: ip link, address, neighbour, nexthop"
    echo "$links" | $ip -d -j -batch -
    for family in 4 6; do
        echo "# json $netns: ip -$family route, rule"
        echo "$routes" | $ip -$family -d -j -batch -
    done
    echo "# nft $netns: nft"
    $enter nft -j list ruleset
    case $netns in
    load-*) ;; # the test's own probes listen there
    *)
        echo "# text $netns: ss"
        # Not what waits in their queues.
        $enter ss -Hlnu | awk '{ print $4 }' | sort
        ;;
    esac
done
echo '# text files'
{ find /run/node /run/wireguard -printf '%M %p\n' 2>/dev/null || true; } | sort
echo '# text mounts'
cut -d " " -f 5 /proc/self/mountinfo | sort
echo '# text descriptors of the tunnel, by kind'
me=$(readlink /proc/self/ns/mnt)
for process in /proc/[0-9]*; do
    [ "$(readlink $process/ns/mnt)" = "$me" ] || continue
    [ "$(tr '\0' '\n' <$process/cmdline | sed -n 2p)" = tunnel ] || continue
    for descriptor in $process/fd/*; do readlink $descriptor | sed 's/[0-9]*//g'; done | sort
done
echo '# ours as observed'
"$S" lab observed
