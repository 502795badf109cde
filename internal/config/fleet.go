package config

import (
	"fmt"
	"time"
)

// The properties of a node that shares its store with others.
const (
	MaxStaleness = "fleet.max_staleness"
	SealingKey   = "fleet.sealing_key"
)

// A state that is answered from for longer than an hour without a word from its
// store is no state; one that is a second old or less cannot be told from one
// that is level.
const (
	leastStaleness = 2 * time.Second
	mostStaleness  = time.Hour
)

// Fleet are the settings of a node.
type Fleet struct {
	MaxStaleness time.Duration
	SealingKey   string // path; "" = sealing.key in the installation directory
}

func fleetProperties() []Property {
	const group = "Fleet"
	staleness := duration(MaxStaleness, group, "1m", "How long a node that cannot reach its shared store answers from what it knows; after that it answers 503 everywhere.", leastStaleness)
	atLeast := staleness.check
	staleness.check = func(s string) (string, error) {
		text, err := atLeast(s)
		if d, _ := ParseDuration(text); err == nil && d > mostStaleness {
			return "", fmt.Errorf("%s is longer than %s", s, FormatDuration(mostStaleness))
		}
		return text, err
	}
	return []Property{
		staleness,
		{
			Name: SealingKey, Group: group, Type: "path", Example: "/etc/mintmark/sealing.key", check: absolute,
			Help: "The file of the key-encryption key under which the secrets of the signing keys are sealed in a shared store; every node has the same; unset is sealing.key in the installation directory.",
		},
	}
}
