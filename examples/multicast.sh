#!/bin/sh -eu
# A ping to all hosts (224.0.0.1) is answered; one to the address of a group that nobody has joined is not.
ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
ixgbectl expect --order 'icmp and src 192.0.2.2' --icmp echo-reply,seq=2 -- sh -eu -c '
  ixgbectl inject --ip dst=239.1.2.3 --icmp seq=1; ixgbectl inject --ip dst=224.0.0.1 --icmp seq=2'
