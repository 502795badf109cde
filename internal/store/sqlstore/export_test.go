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
