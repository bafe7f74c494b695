// Package runnertest holds what tests of and with runners need: Sim, a runner
// in memory with knobs, and Run, the suite that every runner passes.
package runnertest
