package sqlstore

import (
	"errors"
	"time"

	"mintmark/internal/authority"
)

// Counts counts what a transaction sees.
func (t *tokenTable) Counts(now time.Time, generation uint64) (authority.TokenCounts, error) {
	if b := t.tx.batch; b != nil && len(b.sum.tokens)+len(t.tx.own.tokens) > 0 {
		var c authority.TokenCounts
		for v, err := range t.All() {
			if err != nil {
				return c, err
			}
			c.Add(&v, now, generation)
		}
		return c, nil
	}
	c, _, err := t.tx.store.counts(t.tx.db, now, generation)
	return c, err
}

// lastCounts is what was counted before, for what, and what became of it.
type lastCounts struct {
	counts     authority.TokenCounts
	generation uint64
	now        time.Time     // at which tokens were in their states
	at         time.Time     // by the clock of the store
	good       time.Duration // as long as it is answered again
	from       int64         // the revision
	// Commits from there up to a later revision touched changed tokens.
	to      position
	changed int
}

// What takes long to count, and is no longer few, is not counted again for as long as slow times what
// it took, and no longer than a minute: pages that show counts cost next to
// nothing, however many look at them. It is when so many commits came between, or
// when one of so few tokens changed.
const (
	slow      = 200
	quick     = 20 * time.Millisecond // what is not worth being kept
	countsOld = time.Minute
	between   = 2000
	oneOf     = 20
)

// counts counts every token by state. changed is how many tokens may have changed
// since: in some states together there are at least so many less.
func (s *Store) counts(d *dbtx, now time.Time, generation uint64) (c authority.TokenCounts, changed int, err error) {
	began := s.now()
	if k := s.counted.get(); k.generation == generation && began.Sub(k.at) < k.good && !began.Before(k.at) {
		if changed, err = s.since(d, k); err == nil {
			c, err = k.become(d, now)
			return c, changed, err
		}
		if !errors.Is(err, errGap) && !errors.Is(err, errFork) {
			return c, 0, err
		}
	}
	c, err = count(d, now, generation)
	if took := s.now().Sub(began); err == nil && took > quick && all(c) > s.bounds.few {
		var h head
		h, err = readHead(d, SelectHead)
		s.counted.change(func(k *lastCounts) {
			*k = lastCounts{counts: c, generation: generation, now: now, at: began, good: min(slow*took, countsOld), from: h.revision, to: h.position()}
		})
	}
	return c, 0, err
}

// since is how many tokens were touched between a count and what a transaction
// sees. errGap or errFork: it is of no use any more.
func (s *Store) since(d *dbtx, k lastCounts) (int, error) {
	h, err := readHead(d, SelectHead)
	switch {
	case err != nil:
		return 0, err
	case h.revision < k.from, h.revision-k.to.revision > between:
		return 0, errGap
	case h.revision < k.to.revision, h.position() == k.to:
	default:
		keys, err := touched(d, k.to, h.revision)
		if err != nil {
			return 0, err
		}
		was := k.to
		k.changed, k.to = k.changed+len(keys[kindToken]), h.position()
		s.counted.change(func(now *lastCounts) {
			if now.to == was && now.from == k.from {
				now.changed, now.to = k.changed, k.to
			}
		})
	}
	if k.changed*oneOf > all(k.counts) {
		return 0, errGap
	}
	return k.changed, nil
}

// become is what the counts are at another time: some tokens have stopped since.
func (k *lastCounts) become(d *dbtx, now time.Time) (authority.TokenCounts, error) {
	c, way, from, to := k.counts, 1, k.now.UnixMicro(), now.UnixMicro()
	if from == to {
		return c, nil
	}
	if to < from {
		way, from, to = -1, to, from
	}
	var expired, replaced int
	_, err := d.row([]any{&expired, &replaced}, `SELECT
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'e' AND stops_at > $2 AND stops_at <= $3),
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'r' AND stops_at > $2 AND stops_at <= $3)`, int64(k.generation), from, to)
	c.Active -= way * (expired + replaced)
	c.Expired += way * expired
	c.Replaced += way * replaced
	return c, err
}

func all(c authority.TokenCounts) int {
	return c.Active + c.Expired + c.Deleted + c.Revoked + c.Replaced
}

func count(d *dbtx, now time.Time, generation uint64) (c authority.TokenCounts, err error) {
	var n int
	at, of := now.UnixMicro(), int64(generation)
	_, err = d.row([]any{&n, &c.Deleted, &c.Revoked, &c.Expired, &c.Replaced}, `SELECT
		(SELECT count(*) FROM tokens),
		(SELECT count(*) FROM tokens WHERE deleted_at IS NOT NULL),
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation < $1)
			+ (SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation > $1),
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'e' AND stops_at <= $2),
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'r' AND stops_at <= $2)`, of, at)
	if err != nil {
		return c, err
	}
	c.Active = n - c.Deleted - c.Revoked - c.Expired - c.Replaced
	// What stops by its expiry is in the index of stops; the others are few.
	_, err = d.row([]any{&c.Expiring}, `SELECT
		(SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'e' AND stops_at > $2 AND stops_at <= $3)
		+ (SELECT count(*) FROM tokens WHERE deleted_at IS NULL AND generation = $1 AND stops_as = 'r' AND stops_at > $2 AND expires_at <= $3)`,
		of, at, now.Add(authority.CareWithin).UnixMicro())
	return c, err
}
