// Package acceptance tests weir from outside: the real binary, real apps and
// real clients, under load and under kill -9.
package acceptance
