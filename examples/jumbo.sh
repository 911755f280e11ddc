#!/bin/sh -eu
# With an MTU of 9000 a frame of 9014 bytes is answered with one of the same size, and a longer one not at all.
ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
ixgbectl expect --order 'icmp and src 192.0.2.2' --icmp echo-reply,seq=2,sum=good --len 9014 -- sh -eu -c '
  ixgbectl inject --ip --icmp seq=1 --len 9100; ixgbectl inject --ip --icmp seq=2 --len 9014'
