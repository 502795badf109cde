package sqlstore

// Kept is the most statements that a connection keeps which nobody uses now, and
// the most that one may keep.
func (s *Store) Kept() (kept, most int) {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	for _, session := range s.views.idle {
		kept = max(kept, len(session.kept))
	}
	return kept, keep
}

// Narrow makes lists of some hundred tokens be read as those of millions are.
func (s *Store) Narrow() { s.bounds = bounds{few: 5, many: 60, fewLate: 15, counted: 4} }
