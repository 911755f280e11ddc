#!/usr/bin/dash
# What udhcpc runs when an address comes or goes.
case $1 in
deconfig)
    ip -4 address flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "${router%% *}" dev "$interface"
    echo "$ip/$mask" >"/run/dhcp.$interface"
    ;;
esac
