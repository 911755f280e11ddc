#!/bin/sh -eu
# A ping in fragments that come last to first is put together and answered; one of which a fragment is missing is not.
ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
ixgbectl expect --order 'icmp and src 192.0.2.2' --ip frag=0 --icmp echo-reply,seq=2 -- sh -eu -c '
  ixgbectl inject --ip id=1 --icmp seq=1 --len 2000 --fragments 1000,without=1
  ixgbectl inject --ip id=2 --icmp seq=2 --len 2000 --fragments 1000,reverse'
