package home_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"mintmark/internal/home"
)

func TestTheHolderOfAPortIsNamed(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		got := home.Holder(l.Addr().String())
		if !strings.HasSuffix(got, " (pid "+strconv.Itoa(os.Getpid())+")") || !strings.HasPrefix(got, "home") {
			t.Errorf("%s is held by %q", address, got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := home.Holder(l.Addr().String()); got != "" {
			t.Errorf("after it was closed: %q", got)
		}
	}
	for _, wrong := range []string{"", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536"} {
		if got := home.Holder(wrong); got != "" {
			t.Errorf("%q is held by %q", wrong, got)
		}
	}
}
