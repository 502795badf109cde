package postgres

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlstore"
)

// fault classes an error by its SQLSTATE (PostgreSQL manual, appendix A). After
// one that the server has not sent nothing is known of the connection.
func fault(err error) sqlstore.Fault {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		f := sqlstore.Fault{Lost: true}
		if outOfReach(err) {
			f.Kind = authority.Unavailable
		}
		return f
	}
	f := sqlstore.Fault{Kind: authority.Unavailable, Lost: e.Severity == "FATAL" || e.Severity == "PANIC"}
	switch e.Code {
	case "23505": // unique_violation
		return sqlstore.Fault{Kind: authority.Internal, Duplicate: true}
	case "53100": // disk_full
		f.Kind = authority.Full
	case "25006": // read_only_sql_transaction
		f.ReadOnly = true
	case "55P03", "57014": // lock_not_available, query_canceled
	default:
		switch e.Code[:min(2, len(e.Code))] {
		// Connection, authorization, transaction state, rollback, resources, operator,
		// system; and 3D: no such database.
		case "08", "28", "25", "40", "53", "57", "58", "3D":
		default:
			f.Kind = authority.Internal
		}
	}
	return f
}

// passing reports what may pass by itself while a store is opened. A role, a
// password, a database or a certificate that is wrong does not.
func passing(err error) bool {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted || fault(err).Kind != authority.Unavailable {
		return false
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || e.Code[:min(2, len(e.Code))] != "28" && e.Code != "3D000"
}

// outOfReach reports an error of the network, and one that nothing was sent after.
func outOfReach(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, sql.ErrConnDone, context.DeadlineExceeded, context.Canceled} {
		network = network || errors.Is(err, end)
	}
	return network || connect || pgconn.SafeToRetry(err)
}
