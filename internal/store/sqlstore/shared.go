package sqlstore

import "database/sql"

// DB is the database, for what lasts beside the records and is no part of any
// change.
func (s *Store) DB() *sql.DB { return s.driver.DB }

// Revision is that of the state which the followers have.
func (s *Store) Revision() uint64 {
	s.follow.Lock()
	defer s.follow.Unlock()
	return uint64(s.at.revision)
}
