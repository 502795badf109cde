package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mintmark/internal/durable"
)

// document is generation n of a document: every line says so.
func document(n int) []byte {
	return []byte(strings.Repeat(strconv.Itoa(n)+"\n", 2000))
}

// generation reads the document and finds it whole; 0 if there is none yet.
func generation(home string) (int, error) {
	data, err := durable.Files{}.Read(filepath.Join(home, "document"), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	n, err := strconv.Atoi(string(first))
	if err == nil && !bytes.Equal(data, document(n)) {
		err = fmt.Errorf("generation %d is not whole: %d bytes", n, len(data))
	}
	return n, err
}

// writeForever writes generation after generation, each to a file of its own, a
// log and a document, and says each number when all three are acknowledged.
func writeForever(home string) error {
	files := durable.Files{}
	last, err := generation(home)
	if err != nil {
		return err
	}
	log, err := files.OpenLog(filepath.Join(home, "log"))
	if err != nil {
		return err
	}
	for n := last + 1; ; n++ {
		err := files.CreateNew(filepath.Join(home, "new-"+strconv.Itoa(n)), document(n))
		if err != nil && !(n == last+1 && errors.Is(err, fs.ErrExist)) { // made before the kill
			return err
		}
		if err := log.Append([]byte(strconv.Itoa(n)), []byte("end")); err != nil {
			return err
		}
		if err := files.Write(filepath.Join(home, "document"), document(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	const cycles = 30
	home := newHome(t)
	files := durable.Files{}
	must(t, files.CreateNew(filepath.Join(home, "log")))
	random := rand.New(rand.NewPCG(1, 2))
	acknowledged := 0
	for range cycles {
		writer := start(t, "write", home)
		for range 1 + random.IntN(5) {
			if !writer.lines.Scan() {
				t.Fatalf("the writer ended by itself after %d", acknowledged)
			}
			acknowledged = number(t, writer.lines.Text())
		}
		for range random.IntN(500_000) { // to be somewhere in the next generation
			_ = random.Uint64()
		}
		for _, line := range writer.kill(t) {
			acknowledged = number(t, line)
		}
		is, err := generation(home)
		must(t, err)
		if is != acknowledged && is != acknowledged+1 {
			t.Fatalf("generation %d on the disk, %d acknowledged", is, acknowledged)
		}
		for _, name := range []string{"document", fmt.Sprint("new-", is), fmt.Sprint("new-", is+1)} {
			must(t, files.RemoveStaleTemps(filepath.Join(home, name)))
		}
		if left := temps(t, home); len(left) > 0 {
			t.Fatalf("left behind: %q", left)
		}
	}

	log, err := files.OpenLog(filepath.Join(home, "log"))
	must(t, err)
	defer log.Close()
	journal := "\n" + content(t, filepath.Join(home, "log"))
	for n := 1; n <= acknowledged; n++ {
		data, err := files.Read(filepath.Join(home, fmt.Sprint("new-", n)), 1<<20)
		if err != nil || !bytes.Equal(data, document(n)) {
			t.Fatalf("file %d: %d bytes, %v", n, len(data), err)
		}
		if !strings.Contains(journal, fmt.Sprintf("\n%d\nend\n", n)) {
			t.Fatalf("%d is not in the log", n)
		}
	}
}

func number(t *testing.T, line string) int {
	t.Helper()
	n, err := strconv.Atoi(line)
	must(t, err)
	return n
}
