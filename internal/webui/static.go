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

// lean leaves out comments and what only makes a file readable, which are a fifth of
// the console's weight. A line of a script that begins with two slashes is a comment:
// no text goes over several lines.
func lean(kind string, text []byte) []byte {
	if kind == ".css" {
		text = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAll(text, nil)
		text = []byte(strings.NewReplacer(" { ", "{", "; }", "}", "; ", ";", ": ", ":", ", ", ",", " > ", ">").Replace(string(text)))
	}
	var out []byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if kind == ".js" {
			line = squeeze(line)
		}
		out = append(out, line...)
		// In a style sheet every line ends with what ends a part of a rule.
		if len(line) > 0 && kind != ".css" && !(kind == ".js" && goesOn(line)) {
			out = append(out, '\n')
		}
	}
	return out
}

// goesOn reports a line of a script behind which no line has to end.
func goesOn(line []byte) bool {
	return strings.ContainsRune(";{,(", rune(line[len(line)-1])) && !bytes.Contains(line, []byte("//"))
}

// squeeze leaves out a comment and, between texts, the spaces around what is no word.
// A line with a slash or a backquote may hold a pattern or a text within a text, and
// stays as it is.
func squeeze(line []byte) []byte {
	if bytes.HasPrefix(line, []byte("//")) {
		return nil
	}
	if bytes.ContainsAny(line, "/`'") {
		return line
	}
	parts := regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^"]+`).FindAll(line, -1)
	for i, p := range parts {
		if p[0] != '"' {
			parts[i] = regexp.MustCompile(` ?([=+?:,;{}()<>&|]+) ?`).ReplaceAll(p, []byte("$1"))
		}
	}
	return bytes.Join(parts, nil)
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
