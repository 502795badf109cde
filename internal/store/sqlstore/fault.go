package sqlstore

import (
	"cmp"
	"errors"

	"mintmark/internal/authority"
)

// failure classes an error of the driver after which nothing has changed.
func failure(d *Driver, err error) error {
	if e, ok := errors.AsType[*authority.Error](err); ok {
		return e
	}
	f := d.Fault(err)
	e := &authority.Error{Kind: f.Kind, Err: err}
	switch {
	case f.Kind == authority.Full:
		e.Code, e.Msg = "store.full", "There is no space left where changes are stored; nothing was changed."
	case f.ReadOnly:
		e.Code, e.Msg = "store.read_only", "The place where changes are stored is read-only; nothing was changed."
	case f.Kind == authority.Unavailable:
		e.Code, e.Msg = "store.unavailable", cmp.Or(f.What, "The database cannot be reached")+"; nothing was changed."
	default:
		e.Code = "store.database"
	}
	return e
}

func doubtful(err error) error {
	return &authority.Error{
		Kind: authority.Unavailable, Code: "store.unknown",
		Msg: "It is not known whether the change was stored; look before you try again.", Err: err,
	}
}

func closedStore() error {
	return &authority.Error{
		Kind: authority.Unavailable, Code: "store.unavailable", Msg: "The store is closed.", Err: errors.New("the store is closed"),
	}
}

func cancelled(err error) error {
	return &authority.Error{Kind: authority.Unavailable, Code: "request.cancelled", Msg: "The request was given up; nothing was changed.", Err: err}
}

func broken(err error) error {
	return &authority.Error{Kind: authority.Internal, Code: "store.record", Err: err}
}
