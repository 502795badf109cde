package webui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"time"
)

// assets are the static files as they are served, by name.
type assets map[string][]byte

func readAssets(files fs.FS) (assets, error) {
	all := make(assets)
	return all, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[name], err = fs.ReadFile(files, name)
		return err
	})
}

// digest names the state of all static files, so that a browser may keep them
// for as long as it likes.
func (a assets) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a)) {
		h.Write([]byte(name))
		h.Write(a[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (a assets) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	text, ok := a[name]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(rw, r, name, time.Time{}, bytes.NewReader(text))
}
