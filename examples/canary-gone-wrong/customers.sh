#!/bin/bash
# Customers of the shop: about a hundred requests a second until Ctrl-C, or
# until STAY seconds are over. URL is where the shop is.
url=${URL:-http://shop.apps.localhost:8080}
end=$((SECONDS + ${STAY:-3600}))
while [ $SECONDS -lt $end ]; do
	curl -s "$url/cart?[1-10]" "$url/?[1-10]" >/dev/null
	sleep 0.18
done
