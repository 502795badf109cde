package fleet

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestTheProxySpoilsWhatItIsToldToSpoil: a run that breaks nothing proves nothing.
func TestTheProxySpoilsWhatItIsToldToSpoil(t *testing.T) {
	c := newCluster(t)
	p := newProxy(t, net.JoinHostPort(c.host, fmt.Sprint(c.port)))
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), c.url(p.address()))
		must(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	hears, says := connect(), connect()
	exec := func(conn *pgx.Conn, sql string) error { _, err := conn.Exec(t.Context(), sql); return err }
	must(t, exec(hears, "LISTEN x"))
	hear := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := hears.WaitForNotification(ctx)
		return err
	}
	must(t, exec(says, "NOTIFY x"))
	must(t, hear(10*time.Second))

	p.deaf.Store(true)
	must(t, exec(says, "NOTIFY x"))
	if err := hear(300 * time.Millisecond); err == nil || p.drops.Load() != 1 {
		t.Errorf("a dropped notification arrived: %v, %d dropped", err, p.drops.Load())
	}
	p.deaf.Store(false)

	must(t, exec(says, "CREATE TABLE seen (n int)"))
	lasted, lost := 0, 0
	for n := 0; lasted == 0 || lost == 0; n++ { // one way or the other, by chance
		says = connect()
		var batch pgx.Batch
		for _, sql := range []string{"BEGIN", "INSERT INTO seen VALUES (1)"} {
			batch.Queue(sql)
		}
		must(t, says.SendBatch(t.Context(), &batch).Close())
		p.cut.Store(true)
		var end pgx.Batch
		end.Queue("COMMIT")
		if err := says.SendBatch(t.Context(), &end).Close(); err == nil || p.cuts.Load() != int64(n+1) {
			t.Fatalf("a COMMIT went through: %v, %d cut", err, p.cuts.Load())
		}
		p.cut.Store(false)
		rows := func() (rows int) {
			must(t, connect().QueryRow(t.Context(), "SELECT count(*) FROM seen").Scan(&rows))
			return rows
		}
		time.Sleep(100 * time.Millisecond) // for a server that has got the COMMIT
		if rows() > lasted {
			lasted++
		} else {
			lost++
		}
		if n == 40 {
			t.Fatalf("of %d cut commits %d lasted", n, lasted)
		}
	}

	p.darken(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := says.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("something passes in the dark")
	}
	p.darken(false)
	must(t, exec(connect(), "SELECT 1"))
}
