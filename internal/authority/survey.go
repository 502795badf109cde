package authority

import (
	"cmp"
	"slices"
	"strings"
)

// survey puts evidence together in one pass over the tokens. It keeps no more of
// them than are wanted: of a hundred thousand a page shows a hundred.
type survey struct {
	*Authority
	evidence                Evidence
	query                   EvidenceQuery
	wanted, depends, refuse selection
}

func (a *Authority) survey(q EvidenceQuery) *survey {
	return &survey{
		Authority: a, query: q, evidence: Evidence{AsOf: a.Now().UTC(), Counted: a.Usage.Since(), Counts: make(map[Movement]int)},
		wanted: selection{order: q.Order.compare, limit: q.Limit}, depends: selection{order: byConcern, limit: Named}, refuse: selection{order: byConcern, limit: Named},
	}
}

func (s *survey) read(tx Tx, name string) error {
	e := &s.evidence
	var err error
	if e.Key, err = namedKey(tx, name); err != nil {
		return err
	}
	if e.Key.State != KeyRetired { // of what is over there is evidence still
		if err = e.Key.mustBePrevious(); err != nil {
			return err
		}
	}
	if e.Current, err = currentKey(tx); err != nil {
		return err
	}
	if e.Logins, err = loginsUnder(tx, e.Key.ID, e.AsOf); err != nil {
		return err
	}
	system, err := system(tx)
	if err != nil {
		return err
	}
	for t, err := range tx.Tokens().All() {
		if err != nil {
			return err
		}
		if t.State(e.AsOf, system.Generation) == StateActive {
			s.enter(&t, system.Generation)
		}
	}
	return nil
}

// enter takes one live token in, unless the key cannot have signed it.
func (s *survey) enter(t *Token, generation uint64) {
	e, of := &s.evidence, standing{id: t.ID, client: t.ClientID}
	for _, u := range s.Usage.KeyUses(t.ID) {
		switch {
		case u.Key == e.Key.ID && !(e.Key.State == KeyPrevious && u.Last.Before(e.Current.CurrentSince)):
			of.under = u
		case u.Key == e.Current.ID:
			of.since = u
		}
	}
	if of.under.Key == "" && t.CreatedAt.After(e.Current.CurrentSince) {
		return // issued after the rotation
	}
	of.movement = movement(of.under, of.since, e.AsOf)
	e.All++
	e.Counts[of.movement]++
	if of.under.Last.After(e.Last.Last) {
		e.Last = of.under
	}
	refused, last := s.Usage.TrialRefusals(t.ID)
	if refused > 0 {
		e.Trial.Requests, e.Trial.Tokens = e.Trial.Requests+refused, e.Trial.Tokens+1
	}
	whole := func() *TokenEvidence {
		row := &TokenEvidence{
			TokenView: s.view(*t, generation), Movement: of.movement, Under: of.under, Since: of.since, TrialRefusals: refused, TrialRefused: last,
		}
		if row.Contacted.At.Before(e.Current.CurrentSince) {
			row.Contacted = Contact{} // about an earlier rotation
		}
		return row
	}
	if len(s.query.Movements) == 0 || slices.Contains(s.query.Movements, of.movement) {
		s.wanted.offer(&of, whole)
	}
	if of.movement == NotMoved || of.movement == Mixed {
		s.depends.offer(&of, whole)
	}
	if refused > 0 {
		s.refuse.offer(&of, whole)
	}
}

func (s *survey) result() *Evidence {
	e := &s.evidence
	e.Tokens, e.Depends, e.Trial.First = s.wanted.rows(), s.depends.rows(), s.refuse.rows()
	return e
}

// standing is what evidence is ordered by.
type standing struct {
	id           TokenID
	client       string
	movement     Movement
	under, since KeyUse
}

func (o EvidenceOrder) compare(a, b *standing) int {
	switch o {
	case ByClient:
		return cmp.Or(cmp.Compare(strings.ToLower(a.client), strings.ToLower(b.client)), cmp.Compare(a.id, b.id))
	case ByLast:
		return cmp.Or(b.under.Last.Compare(a.under.Last), byConcern(a, b))
	case ByConcern:
	}
	return byConcern(a, b)
}

func byConcern(a, b *standing) int {
	return cmp.Or(
		cmp.Compare(a.movement.concern(), b.movement.concern()),
		b.under.Last.Compare(a.under.Last), cmp.Compare(a.client, b.client), cmp.Compare(a.id, b.id),
	)
}

// concern is the place of a movement among those of most concern first.
func (m Movement) concern() int {
	switch m {
	case NotMoved:
		return 0
	case Mixed:
		return 1
	case Silent:
		return 2
	case Moved:
	}
	return 3
}

// selection keeps the first of what it is offered; with a limit, never more than
// twice as many.
type selection struct {
	order func(a, b *standing) int
	limit int // 0: none
	best  []selected
	full  bool // best is sorted up to limit, and what is behind its last is not wanted
}

type selected struct {
	standing
	row *TokenEvidence
}

func (s *selection) offer(of *standing, whole func() *TokenEvidence) {
	if s.full && s.order(of, &s.best[s.limit-1].standing) >= 0 {
		return
	}
	s.best = append(s.best, selected{*of, whole()})
	if s.limit > 0 && len(s.best) >= 2*s.limit {
		s.cut()
	}
}

func (s *selection) cut() {
	slices.SortFunc(s.best, func(a, b selected) int { return s.order(&a.standing, &b.standing) })
	if s.limit > 0 && len(s.best) >= s.limit {
		s.best, s.full = s.best[:s.limit], true
	}
}

func (s *selection) rows() []TokenEvidence {
	s.cut()
	var out []TokenEvidence
	for _, b := range s.best {
		out = append(out, *b.row)
	}
	return out
}
