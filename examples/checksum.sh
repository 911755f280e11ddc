#!/bin/sh -eu
# Packets with a bad checksum of IP or ICMP, or with a bad FCS, are dropped; the good one that follows is answered first.
ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
ixgbectl expect --order 'icmp and src 192.0.2.2' --icmp echo-reply,seq=4 -- sh -eu -c '
  ixgbectl inject --ip sum=bad --icmp seq=1; ixgbectl inject --ip --icmp seq=2,sum=bad
  ixgbectl inject --ip --icmp seq=3 --bad-fcs; ixgbectl inject --ip --icmp seq=4'
