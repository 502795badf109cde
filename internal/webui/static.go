package webui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// assets are the static files as they are served, by name.
type assets map[string][]byte

// readAssets reads them without what is there only for those who write them.
func readAssets(files fs.FS) (assets, error) {
	all := make(assets)
	return all, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		all[name] = lean(path.Ext(name), text)
		return err
	})
}

// lean leaves out comments and indentation, which are a fifth of the console's
// weight. A line of a script that begins with two slashes is a comment: no text
// goes over several lines.
func lean(kind string, text []byte) []byte {
	if kind == ".css" {
		text = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAll(text, nil)
		text = []byte(strings.NewReplacer(" { ", "{", "; }", "}", "; ", ";", ": ", ":", ", ", ",", " > ", ">").Replace(string(text)))
	}
	var out []byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && !(kind == ".js" && bytes.HasPrefix(line, []byte("//"))) {
			out = append(out, line...)
			if kind != ".css" { // there every line ends with what ends a part of a rule
				out = append(out, '\n')
			}
		}
	}
	return out
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
