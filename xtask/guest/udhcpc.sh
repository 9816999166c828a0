#!/bin/bash
# What udhcpc calls with a lease: sets the address.
case $1 in
bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    echo "$ip/$mask, router ${router:-none}"
    ;;
esac
