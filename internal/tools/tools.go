// Package tools pins the development tools; see go.mod beside it.
package tools
