# go_env CACHE: the environment of all go commands. Programs do not depend on
# where they were built, nor on a C compiler unless the app asks for one.
go_env() {
  export GOMODCACHE=$1/mod GOCACHE=$1/build GOPATH=$HOME/go GOENV=off GO111MODULE=on
  export GOTELEMETRY=off CGO_ENABLED=${CGO_ENABLED:-0}
  export GOFLAGS="-trimpath -buildvcs=false -modcacherw ${GOFLAGS:-}"
}
