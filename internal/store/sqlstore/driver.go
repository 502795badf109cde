package sqlstore

import (
	"context"
	"database/sql"

	"mintmark/internal/authority"
)

// Driver is one opened database and what it does in a way of its own.
type Driver struct {
	DB       *sql.DB
	Kind     string // as in StoreFacts
	Location string // as in StoreFacts
	// Read and Write begin a transaction: on one snapshot for as long as it lasts;
	// and as one that may write.
	Read, Write string
	// Lock reads the head row and keeps every other writer out until the end of the
	// transaction.
	Lock string
	// Notify tells other nodes of a revision, its only argument; "": there are none.
	Notify string
	// Whole is executed before all tokens are read in one statement; "": nothing is.
	Whole string
	// Position is the function that tells where in a text another one begins.
	Position string
	// Prepare: statements are prepared once for each connection.
	Prepare bool
	// Arrays: a statement takes many rows as one array for each column (unnest).
	Arrays bool
	// Sessions is the most connections at one time, the writer's aside.
	Sessions int
	// Send executes statements in one turn, the last of which commits. nil: they
	// are executed one after the other.
	Send func(ctx context.Context, conn *sql.Conn, statements []Statement) error
	// Fault classes an error of the driver.
	Fault func(error) Fault
}

// Statement is one statement and its arguments.
type Statement struct {
	Text string
	Args []any
}

// Fault is what an error of a driver means.
type Fault struct {
	Kind      authority.Kind // Unavailable, Full or Internal
	ReadOnly  bool           // the database cannot be written
	Duplicate bool           // a key was inserted that exists
	Lost      bool           // the connection is of no use any more
	What      string         // what is the matter, for people, when it is not that the database cannot be reached
}
