#!/bin/sh -eu
# Who asks in VLAN 5 is answered in VLAN 5, and who asks in VLAN 6 is not.
ixgbectl expect --order arp --vlan 5 --arp reply,spa=198.51.100.2,tpa=198.51.100.5 -- sh -eu -c '
  ixgbectl inject --vlan 6 --arp who-has=198.51.100.2,tell=198.51.100.6
  ixgbectl inject --vlan 5,pcp=3 --arp who-has=198.51.100.2,tell=198.51.100.5'
