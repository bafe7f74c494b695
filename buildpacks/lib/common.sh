# Shared by the built-in buildpacks; sourced by their bash scripts.
# The current directory is the buildpack's own, a private copy of this build.

step() { echo "-----> $*"; }
note() { echo "       $*"; }
warn() { echo "       Warning: $*"; }

# fail MESSAGE [HINT]: end the build with a reason and what to do about it.
fail() {
  echo " !     $1"
  if [ -n "${2:-}" ]; then echo " !     $2"; fi
  exit 1
}

# need COMMAND WHAT HOW: the toolchain must be on this machine.
need() {
  command -v "$1" >/dev/null 2>&1 ||
    fail "$2 is needed to build this app, and there is no \"$1\" on this machine's PATH ($PATH)" "$3"
}

# indented: run a command with its output set off from ours.
indented() { "$@" 2>&1 | sed -u 's/^/       /'; }

# digest FILE...: one name for the content of all the files that exist.
digest() {
  local f
  for f in "$@"; do
    if [ -f "$f" ]; then printf '%s ' "${f##*/}"; sha256sum <"$f"; fi
  done | sha256sum | cut -c1-32
}

# keep_only DIR NAME: remove all of DIR's entries but NAME.
keep_only() {
  local entry
  for entry in "$1"/*; do
    if [ -e "$entry" ] && [ "${entry##*/}" != "$2" ]; then rm -rf "$entry"; fi
  done
}

# release TYPE COMMAND: what bin/release will say this process runs. The
# command becomes a YAML text in single quotes.
release() {
  [ -f release.yml ] || echo "default_process_types:" >release.yml
  printf "  %s: '%s'\n" "$1" "${2//\'/\'\'}" >>release.yml
}
