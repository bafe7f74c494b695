#!/usr/bin/env bash
# Builds the program into dist/, the directory to push.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p "${1:-dist}"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "${1:-dist}/hello-binary" .
