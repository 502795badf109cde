package main

import (
	"os"
	"path/filepath"

	"mintmark/internal/config"
	"mintmark/internal/home"
)

// strayed says that the tokens lie in another installation directory than this one,
// whose server has them too: that is so where a directory was copied, for the path
// of a store is absolute.
func (k *core) strayed() error {
	kind, place := config.StorePlace(k.running.Settings().Store)
	if k.dir == "" || kind != config.StoreJSON && kind != config.StoreSQLite {
		return nil
	}
	other, err := home.Open(filepath.Dir(place))
	if err != nil {
		return nil //nolint:nilerr // then it is a folder like any other
	}
	here, err := os.Stat(string(k.dir))
	if err != nil {
		return nil //nolint:nilerr // whoever opens the home says so
	}
	if there, err := os.Stat(string(other)); err != nil || os.SameFile(here, there) {
		return nil //nolint:nilerr // likewise
	}
	own := filepath.Join(string(k.dir), filepath.Base(place))
	if kind == config.StoreSQLite {
		own = "sqlite:" + own
	}
	return fail(exitConflict, "store.elsewhere", "the tokens of %s are those of another installation directory, %s", k.dir, other).
		advise("its own: " + k.dir.Manager() + " config properties set " + config.Store + " " + own + " && " + k.dir.Manager() + " config apply")
}
