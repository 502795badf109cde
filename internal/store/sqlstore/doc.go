// Package sqlstore keeps records in a database: what SQLite and PostgreSQL
// share. It touches the database that a [Driver] opens and nothing else.
//
// The one hard idea: there is one head row, which whoever writes locks first.
// Under that lock the callers of a batch run one after the other; what they
// change stays in memory, laid over the database, until the last of them is
// through, and then goes there in a few statements with one commit. The commit
// takes the head to its next revision and names the keys that it touched, so the
// order of commits is the order of revisions, and whoever knows the records at
// one revision can be brought to any later one without missing a change.
package sqlstore
