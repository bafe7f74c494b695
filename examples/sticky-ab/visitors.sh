#!/usr/bin/env bash
# A hundred visitors, each with cookies of their own, look at the page five times
# and come again whenever this runs again; one in ten presses the button. It says
# how many saw which button, and how many saw another one than before. URL is where the page is.
set -euo pipefail
url=${URL:-http://button.apps.localhost:8080/}
dir=${VISITORS:-${TMPDIR:-/tmp}/sticky-ab-visitors}
mkdir -p "$dir"
for i in $(seq 100); do
	curl -s -b "$dir/$i.jar" -c "$dir/$i.jar" "$url" "$url" "$url" "$url" "$url" |
		grep -oE 'blue$|green$' | sort -u | tr '\n' ' ' >"$dir/$i.now"
	if [ $((i % 10)) = 0 ]; then
		curl -s -o /dev/null -b "$dir/$i.jar" -c "$dir/$i.jar" -X POST "${url%/}/buy"
	fi
done
changed=0
for i in $(seq 100); do
	if [ -e "$dir/$i.before" ] && ! cmp -s "$dir/$i.before" "$dir/$i.now"; then changed=$((changed + 1)); fi
	mv "$dir/$i.now" "$dir/$i.before"
done
for i in $(seq 100); do cat "$dir/$i.before"; echo; done | sort | uniq -c
echo "changed since the last time: $changed"
