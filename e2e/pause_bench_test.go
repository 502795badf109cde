package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkWritersWait measures how long whoever creates tokens waits at the most
// while 100,000 of them are backed up, and while they move to another store;
// beside it how long they wait at the most when nothing else is done.
func BenchmarkWritersWait(b *testing.B) {
	const population = 100_000
	for name, stores := range map[string]func(folder string) []string{
		"json to sqlite to json": func(folder string) []string {
			return []string{filepath.Join(folder, "tokens.json"), "sqlite:" + filepath.Join(folder, "mint.db"), filepath.Join(folder, "moved.json")}
		},
		"postgres": func(string) []string {
			d := startDatabase(b)
			d.must(b, "-c", "CREATE DATABASE mint")
			return []string{"postgres://postgres@/mint?host=" + d.dir + "&port=" + d.port + "&sslmode=disable"}
		},
	} {
		b.Run(name, func(b *testing.B) {
			folder := b.TempDir()
			if err := os.Chmod(folder, 0o700); err != nil {
				b.Fatal(err)
			}
			w := newWriters(b, folder, stores(folder))
			for b.Loop() {
				w.create(32, func(made func() int) {
					for made() < population {
						time.Sleep(10 * time.Millisecond)
					}
				})
				w.measure(b)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// writers create tokens in an installation.
type writers struct {
	b      *testing.B
	dir    string
	stores []string // the first is the present one
	url    string
	token  string
	client *http.Client
}

func newWriters(b *testing.B, folder string, stores []string) *writers {
	b.Helper()
	program, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	w := &writers{b: b, dir: filepath.Join(folder, "home"), stores: stores, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	address := freeAddress(b)
	w.url = "http://" + address
	if out, err := exec.Command(program, "init", w.dir, "--listen", address, "--store", stores[0], "--start").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.Cleanup(func() { w.manager("stop") })
	w.token = strings.TrimSpace(w.manager("token", "create", "--client-id", "writer", "--role", "admin", "-q"))
	return w
}

func (w *writers) manager(args ...string) string {
	w.b.Helper()
	out, err := exec.Command(filepath.Join(w.dir, "manager"), args...).Output()
	if err != nil {
		w.b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// create has callers make tokens while something is done, and answers the longest
// time that one of them waited for.
func (w *writers) create(callers int, meanwhile func(made func() int)) (longest time.Duration) {
	w.b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	made, over := 0, make(chan struct{})
	for range callers {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				if err := w.one(); err != nil {
					w.b.Error(err)
					return
				}
				mu.Lock()
				made, longest = made+1, max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	meanwhile(func() int {
		mu.Lock()
		defer mu.Unlock()
		return made
	})
	close(over)
	all.Wait()
	return longest
}

func (w *writers) one() error {
	body, err := json.Marshal(map[string]any{"client_id": "service", "role": "user", "tags": []string{"team:web"}})
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, w.url+"/api/v1/tokens", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s %s", answer.Status, text)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// measure backs up and moves on, with four callers who go on.
func (w *writers) measure(b *testing.B) {
	const callers = 4
	const recipient = "age1ls6ha3x09j8gj8ldmpehac85sresah8zy2r67fs8ayq53xuax5gqswejme" // for this test alone
	timed := func(name string, do func()) {
		took := time.Duration(0)
		longest := w.create(callers, func(func() int) {
			began := time.Now()
			do()
			took = time.Since(began)
		})
		b.ReportMetric(took.Seconds(), name+"-s")
		b.ReportMetric(longest.Seconds()*1000, name+"-longest-wait-ms")
	}
	for i, store := range w.stores {
		of := store[:strings.IndexAny(store, ":/")+1]
		if of = strings.Trim(of, ":/"); of == "" {
			of = "json"
		}
		timed(of+"-nothing", func() { time.Sleep(5 * time.Second) })
		timed(of+"-backup", func() {
			w.manager("backup", "create", "--recipient", recipient, "--out", filepath.Join(w.dir, fmt.Sprintf("%d.age", i)))
		})
		if i+1 < len(w.stores) {
			timed(of+"-move", func() {
				w.manager("config", "properties", "set", "api.access.tokens.store", w.stores[i+1])
				w.manager("config", "apply", "--yes")
			})
		}
	}
}
