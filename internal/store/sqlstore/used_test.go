package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// TestLastUsesThatAreKnownAreToldWithoutWaitingForChanges tells them while a change
// is being made.
func TestLastUsesThatAreKnownAreToldWithoutWaitingForChanges(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for _, d := range databases(t) {
		fill(t, d, 10, now)
		var uses []authority.Used
		for i := range 10 {
			uses = append(uses, authority.Used{ID: person(i, now).ID, At: now})
		}
		if err := d.uses.UsedAt(context.Background(), uses); err != nil {
			t.Fatal(err)
		}
		uses[0].At = now.Add(-time.Hour)
		uses = append(uses, authority.Used{ID: "tok_that_is_not_there", At: now})
		told := make(chan error, 1)
		err := d.store.Update(context.Background(), func(authority.Tx) error {
			go func() { told <- d.uses.UsedAt(context.Background(), uses) }()
			select {
			case err := <-told:
				return err
			case <-time.After(30 * time.Second):
				t.Errorf("%s: they wait for the change", d.name)
				return nil
			}
		})
		if err != nil {
			t.Error(d.name, err)
		}
	}
}
