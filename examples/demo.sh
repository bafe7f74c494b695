#!/usr/bin/env bash
# Starts weir on loopback with a data directory of its own, pushes
# examples/hello-go and shows what it answers. With a second argument it then
# stops everything and exits; otherwise it runs until Ctrl-C.
#
#   examples/demo.sh path/to/weir [1]
set -euo pipefail

weir=$(realpath "$1")
once=${2:-}
examples=$(dirname "$(realpath "$0")")
dir=$(mktemp -d "${TMPDIR:-/tmp}/weir-demo.XXXXXX")
chmod 0711 "$dir"
export WEIR_HOME=$dir/home WEIR_DATA=$dir/data
server=

stop() {
  trap - EXIT INT TERM
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server"
    wait "$server" || true
  fi
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

# taken PORT: does something listen there already?
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
api=8181 http=8080
if taken $api; then api=0; fi
if taken $http; then http=0; fi

"$weir" serve --data "$WEIR_DATA" --api "127.0.0.1:$api" --http "127.0.0.1:$http" 2>"$dir/serve.log" &
server=$!
for _ in $(seq 300); do
  [ -s "$WEIR_DATA/server.json" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$dir/serve.log" >&2; exit 1; }
  sleep 0.1
done
[ -s "$WEIR_DATA/server.json" ] || { cat "$dir/serve.log" >&2; echo "weir did not get ready within 30s" >&2; exit 1; }

"$weir" login
(cd "$examples/hello-go" && "$weir" push hello)

# get PORT HOST: the answer of one request, with nothing but bash
get() {
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" >&3
  cat <&3
  exec 3>&-
}
port=$(sed -n 's/.*"http": *"[^"]*:\([0-9]*\)".*/\1/p' "$WEIR_DATA/server.json")
echo
echo "GET http://hello.apps.localhost:$port/"
get "$port" hello.apps.localhost
echo
if [ -n "$once" ]; then
  exit 0
fi
echo "weir runs: API $(sed -n 's/.*"api": *"\([^"]*\)".*/\1/p' "$WEIR_DATA/server.json"), apps http://<app>.apps.localhost:$port/"
echo "in another terminal:  export WEIR_HOME=$WEIR_HOME WEIR_DATA=$WEIR_DATA; $weir apps"
echo "Ctrl-C stops it and removes $dir"
wait "$server"
