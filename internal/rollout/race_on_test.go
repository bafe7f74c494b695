//go:build race

package rollout

// underRace says that the race detector runs, which makes the database some
// twenty times slower: long stories are told shorter.
const underRace = true
