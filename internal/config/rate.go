package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is how often something may happen: Events in each Window, Burst of them at
// once. The zero Rate is no limit.
type Rate struct {
	Events int
	Window time.Duration
	Burst  int
}

// mostEvents bounds what a rate can say: beyond it, it limits nothing.
const mostEvents = 1_000_000

// ParseRate reads "100/s", "6000/m" or "5/h", and "100/s burst 200" where more
// than the hundred may come at once.
func ParseRate(s string) (Rate, error) {
	wrong := fmt.Errorf("%s is not a rate such as 100/s, 6000/m or \"100/s burst 200\", of 1 to %d", strconv.Quote(s), mostEvents)
	rate, burst, more := strings.Cut(s, " burst ")
	count, unit, _ := strings.Cut(rate, "/")
	window, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !more {
		burst = count
	}
	events, ok := event(count)
	atOnce, burstOK := event(burst)
	if !known || !ok || !burstOK {
		return Rate{}, wrong
	}
	return Rate{events, window, atOnce}, nil
}

func event(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= mostEvents && strconv.Itoa(n) == s
}

// String is the one way to write the rate; "" for none.
func (r Rate) String() string {
	if r.Events == 0 {
		return ""
	}
	s := strconv.Itoa(r.Events) + "/" + map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Window]
	if r.Burst != r.Events {
		s += " burst " + strconv.Itoa(r.Burst)
	}
	return s
}
