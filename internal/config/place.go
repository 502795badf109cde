package config

import (
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// StoreKind is a kind of place in which tokens last.
type StoreKind string

// The kinds of stores.
const (
	StoreMemory   StoreKind = "memory"
	StoreJSON     StoreKind = "json"
	StoreSQLite   StoreKind = "sqlite"
	StorePostgres StoreKind = "postgres"
)

// Whole reports whether the whole state is in the store, not tokens alone.
func (k StoreKind) Whole() bool { return k == StoreSQLite || k == StorePostgres }

// StorePlace reads a value that the property Store takes: its kind, and the path
// of a file or the URL of a database.
func StorePlace(value string) (kind StoreKind, place string) {
	switch path, sqlite := strings.CutPrefix(value, sqlitePrefix); {
	case value == "":
		return StoreMemory, ""
	case sqlite:
		return StoreSQLite, path
	case strings.HasPrefix(value, postgresPrefix):
		return StorePostgres, value
	}
	return StoreJSON, value
}

const (
	sqlitePrefix   = "sqlite:"
	postgresPrefix = "postgres://"
)

func store(s string) (string, error) {
	scheme, rest, isURL := strings.Cut(s, ":")
	switch scheme = strings.ToLower(scheme); {
	case isURL && scheme == "sqlite":
		path, err := absolute(rest)
		if err != nil {
			return "", errors.New("sqlite: is followed by the absolute path of a file, as in sqlite:/var/lib/mintmark/mintmark.db")
		}
		return sqlitePrefix + path, nil
	case isURL && slices.Contains([]string{"postgres", "postgresql"}, scheme):
		return database(rest)
	case s == "memory":
		return "", errors.New("to keep tokens in memory, unset the property")
	case !filepath.IsAbs(s):
		return "", errors.New("the value is not an absolute path, and no sqlite:/path or postgres:// address")
	case !strings.HasSuffix(s, ".json"):
		return "", errors.New("the path does not end in .json")
	}
	return filepath.Clean(s), nil
}

// database is the URL of a PostgreSQL database. A password has no place in it:
// what is configured is shown. No error tells the value, as one may be in there.
func database(rest string) (string, error) {
	u, err := url.Parse("postgres:" + rest)
	if err != nil || !strings.HasPrefix(rest, "//") || u.Fragment != "" {
		return "", errors.New("it is not the address of a PostgreSQL database, as in postgres://mintmark@db.example/mintmark?sslmode=verify-full")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errors.New("the part behind the question mark cannot be read")
	}
	_, password := u.User.Password()
	if password || query.Has("password") || query.Has("sslpassword") {
		return "", errors.New("a password has no place in the address: put it in a file that only the service can read, and name that with passfile=/path, as for psql")
	}
	if u.Host == "" && query.Get("host") == "" {
		return "", errors.New("the address names no host; for a Unix socket add host=/var/run/postgresql")
	}
	if strings.Trim(u.Path, "/") == "" && query.Get("dbname") == "" {
		return "", errors.New("the address names no database")
	}
	return u.String(), nil
}
