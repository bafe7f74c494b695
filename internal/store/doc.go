// Package store keeps everything weir has promised to remember: one SQL
// database, here SQLite in the data directory.
//
// Each resource has a file of its own that describes its columns, the filters
// its lists accept and the texts of its unique rules; table.go turns such a
// description into SQL. All SQL is written so that SQLite and PostgreSQL both
// run it; what differs between them is in sqlite.go and nowhere else.
//
// Writes go through one connection, one after the other, and are on disk when
// the method returns. Reads go through a pool of their own and see a snapshot:
// they neither wait for writers nor hold them up.
package store
