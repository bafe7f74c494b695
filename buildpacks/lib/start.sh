# start_file APP: the program to start: start.sh, else the only executable
# file at the top. Plain sh, since detection runs it.
start_file() {
  if [ -f "$1/start.sh" ]; then
    echo ./start.sh
    return
  fi
  found=
  for f in "$1"/*; do
    if [ -f "$f" ] && [ -x "$f" ]; then
      [ -z "$found" ] || return 1
      found=./${f##*/}
    fi
  done
  [ -n "$found" ] && echo "$found"
}
