# What staticfile and static have in common: serve files with the server that
# is part of weir. It reads the Staticfile itself when it starts.

# static_root APP: the directory to serve, relative to the app.
static_root() {
  local dir
  if [ -f "$1/Staticfile" ]; then
    dir=$(sed -n 's/^root:[[:space:]]*//p' "$1/Staticfile" | head -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]*$//')
    if [ -n "$dir" ]; then echo "$dir"; return; fi
  fi
  for dir in . public dist build; do
    if [ -f "$1/$dir/index.html" ]; then echo "$dir"; return; fi
  done
  echo .
}

# static_finalize APP
static_finalize() {
  local root
  root=$(static_root "$1")
  [ -d "$1/$root" ] ||
    fail "the Staticfile says \"root: $root\", and the app has no such directory" "name a directory of the app in the Staticfile"
  case "$root" in
    /* | .. | ../* | */.. | */../*) fail "the Staticfile says \"root: $root\", which lies outside the app" "name a directory of the app in the Staticfile" ;;
  esac
  case "$root" in
    *[!A-Za-z0-9._/-]*) fail "the Staticfile says \"root: $root\": only letters, digits, dot, dash, underscore and slash are allowed" ;;
  esac
  step "Serving the files of ${root/#./this directory}"
  release web "exec \"\$WEIR_EXE\" static-server $root"
}
