package webui

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
)

// digest names the state of all static files, so that a browser may keep them
// for as long as it likes.
func digest(files fs.FS) string {
	h := sha256.New()
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		h.Write([]byte(name))
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func staticHandler(files fs.FS) http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r2 := r.Clone(r.Context())
		r2.URL.Path = "/" + r.PathValue("file")
		if r.PathValue("file") != "" {
			rw.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		server.ServeHTTP(rw, r2)
	})
}
