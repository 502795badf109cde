package backup

import (
	"encoding/json"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// factsForm is the first line.
type factsForm struct {
	Format     string    `json:"format"` // first: it is what a reader looks at
	Product    string    `json:"product"`
	Host       string    `json:"host"`
	Issuer     string    `json:"issuer"`
	CreatedAt  time.Time `json:"created_at"`
	Store      string    `json:"store"`
	Generation uint64    `json:"generation"`
	LastEvent  placeForm `json:"last_event"`
}

type placeForm struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash,omitempty"`
}

// lineForm is any other line; it has one member.
type lineForm struct {
	Home     *homeForm       `json:"home,omitempty"`
	Restored json.RawMessage `json:"restored,omitempty"`
	Key      json.RawMessage `json:"key,omitempty"`
	Admin    json.RawMessage `json:"admin,omitempty"`
	Throttle json.RawMessage `json:"throttle,omitempty"`
	System   json.RawMessage `json:"system,omitempty"`
	Receipt  json.RawMessage `json:"receipt,omitempty"`
	Token    json.RawMessage `json:"token,omitempty"`
	Event    json.RawMessage `json:"event,omitempty"`
	End      *endForm        `json:"end,omitempty"`
}

type homeForm struct {
	Keyring    []byte            `json:"keyring"`
	Properties map[string]string `json:"properties"`
}

type endForm struct {
	Counts countsForm `json:"counts"`
	SHA256 string     `json:"sha256"` // of every byte before this line
}

type countsForm struct {
	Tokens    int `json:"tokens"`
	Receipts  int `json:"receipts"`
	Keys      int `json:"keys"`
	Admins    int `json:"admins"`
	Throttles int `json:"throttles"`
	Events    int `json:"events"`
}

// into adds the record of a line to what is read, and counts it.
func (l *lineForm) into(c *Content) (err error) {
	r, n := &c.Records, &c.Counts
	switch {
	case l.Token != nil:
		n.Tokens++
		r.Tokens, err = add(r.Tokens, l.Token, stored.Tokens())
	case l.Event != nil:
		n.Events++
		c.Events, err = add(c.Events, l.Event, stored.Events())
	case l.Receipt != nil:
		n.Receipts++
		r.Receipts, err = add(r.Receipts, l.Receipt, stored.Receipts())
	case l.Key != nil:
		n.Keys++
		r.Keys, err = add(r.Keys, l.Key, stored.Keys())
	case l.Admin != nil:
		n.Admins++
		r.Admins, err = add(r.Admins, l.Admin, stored.Admins())
	case l.Throttle != nil:
		n.Throttles++
		r.Throttles, err = add(r.Throttles, l.Throttle, stored.Throttles())
	case l.System != nil:
		r.System, err = stored.Systems().Decode(l.System)
	case l.Restored != nil:
		var e authority.Event
		e, err = stored.Events().Decode(l.Restored)
		c.Restored = &e
	case l.Home != nil:
		c.Keyring, c.Properties = l.Home.Keyring, l.Home.Properties
	default:
		err = ErrDamaged
	}
	return err
}

func add[T any](to []T, text json.RawMessage, c stored.Codec[T]) ([]T, error) {
	v, err := c.Decode(text)
	return append(to, v), err
}
