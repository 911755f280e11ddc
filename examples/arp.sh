#!/bin/sh -eu
# The guest answers who asks for its address.
ixgbectl expect arp --arp reply,spa=192.0.2.2,tpa=192.0.2.1,tha=02:00:00:00:00:01 --eth dst=02:00:00:00:00:01,src=nic -- \
  ixgbectl inject --arp who-has=192.0.2.2,tell=192.0.2.1
