// Package usagesql keeps counts of use in a database, by SQL that SQLite and
// PostgreSQL read alike.
//
// It touches one database, or for an installation directory one SQLite file.
//
// The one hard idea: nothing but counts is in it. A file that cannot be read is
// moved aside and begun anew, because no token depends on it; and a crash of the
// machine may cost the last seconds, so the file is not synced for each batch.
package usagesql
