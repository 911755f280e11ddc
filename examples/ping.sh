#!/bin/sh -eu
# Pings of sizes up to the MTU, in steps of 20 bytes, are answered, with right checksums.
ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
ixgbectl expect 'icmp and src 192.0.2.2' --count 74 --ip sum=good,len=good --icmp echo-reply,id=7,sum=good --len 60-1514 -- \
  ixgbectl inject --ip --icmp echo,id=7,seq=1-74 --len 53-1514/20 --count 74 --rate 1kpps
