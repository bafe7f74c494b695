#!/usr/bin/env bash
# Moves live traffic from one version of a shop to another, and back, without
# losing a request: map and unmap return only when the router has the change.
#
#   blue-green.sh            with weir
#   CF=cf blue-green.sh      with the cf CLI
set -euo pipefail
cd "$(dirname "$0")"
read -ra cf <<<"${CF:-weir}"
domain=${DOMAIN:-apps.localhost}
live=${LIVE:-live}
staging=${STAGING:-staging}

step() {
  echo "+ ${cf[*]} $*" >&2
  "${cf[@]}" "$@"
}

# Version A serves the live address.
step push shop-a -p shop-a -n "$live"

# Version B comes up beside it, at an address of its own, where it can be tried.
step push shop-b -p shop-b -n "$staging"

# Both serve the live address for a moment; then B alone does.
step map-route shop-b "$domain" -n "$live"
step unmap-route shop-a "$domain" -n "$live"
step stop shop-a

# And back: A takes over again.
step start shop-a
step map-route shop-a "$domain" -n "$live"
step unmap-route shop-b "$domain" -n "$live"
step stop shop-b
