package httpapi

import (
	"time"

	"mintmark/api"
	"mintmark/internal/control"
)

func (a *API) readConfig(c *call, _ none) (api.Configuration, error) {
	properties, staging, err := a.Control.Properties(c.request.Context(), c.caller)
	if err != nil {
		return api.Configuration{}, err
	}
	out := api.Configuration{Properties: []api.Property{}, Staging: stagingOf(staging), History: []api.PastRevision{}}
	for _, r := range staging.History {
		out.History = append(out.History, api.PastRevision{Revision: r.Revision, At: r.At.UTC(), By: r.By, Before: r.Before})
	}
	for _, p := range properties {
		out.Properties = append(out.Properties, propertyOf(p))
	}
	return out, nil
}

func (a *API) setProperty(c *call, in api.Value) (api.Staged, error) { return a.stage(c, &in.Value) }

func (a *API) unsetProperty(c *call, _ none) (api.Staged, error) { return a.stage(c, nil) }

func (a *API) stage(c *call, value *string) (api.Staged, error) {
	difference, staging, err := a.Control.Stage(c.request.Context(), c.caller, c.request.PathValue("name"), value)
	if err != nil {
		return api.Staged{}, err
	}
	return api.Staged{Difference: differenceOf(difference), Staging: stagingOf(staging)}, nil
}

func (a *API) diffConfig(c *call, _ none) (api.DifferenceList, error) {
	differences, staging, err := a.Control.Diff(c.request.Context(), c.caller)
	if err != nil {
		return api.DifferenceList{}, err
	}
	return api.DifferenceList{Items: differencesOf(differences), Staging: stagingOf(staging)}, nil
}

func (a *API) applyConfig(c *call, in api.Apply) (api.Applied, error) {
	var f faults
	trial := f.trial("trial", in.Trial)
	if err := f.err(); err != nil {
		return api.Applied{}, err
	}
	applied, err := a.Control.Apply(c.request.Context(), c.caller, in.Revision, trial)
	if err != nil {
		return api.Applied{}, err
	}
	return appliedOf(applied), nil
}

func (a *API) confirmConfig(c *call, in api.Revision) (api.Applied, error) {
	return a.settle(c, control.Answer{Revision: in.Revision, Decision: control.Keep})
}

func (a *API) revertConfig(c *call, in api.Revision) (api.Applied, error) {
	return a.settle(c, control.Answer{Revision: in.Revision, Decision: control.Revert})
}

func (a *API) extendConfig(c *call, in api.ExtendTrial) (api.Applied, error) {
	var f faults
	more := f.trial("by", in.By)
	if err := f.err(); err != nil {
		return api.Applied{}, err
	}
	return a.settle(c, control.Answer{Revision: in.Revision, Decision: control.Extend, More: more})
}

// trial is the length of a trial, 0 when none is given: a given length of 0 is not
// "for good".
func (f *faults) trial(field, text string) time.Duration {
	d := f.duration(field, text, 0)
	if text != "" && d == 0 && len(*f) == 0 {
		f.add(field, "trial.length", control.TrialLasts)
	}
	return d
}

func (a *API) settle(c *call, answer control.Answer) (api.Applied, error) {
	applied, err := a.Control.Settle(c.request.Context(), c.caller, answer)
	if err != nil {
		return api.Applied{}, err
	}
	return appliedOf(applied), nil
}

func trialOf(t *control.Trial) *api.Trial {
	if t == nil {
		return nil
	}
	return &api.Trial{
		Revision: t.Revision, BackTo: t.Back, Until: t.Until.UTC(), Properties: list(t.Properties), With: list(t.With), StoreStays: t.Stays, By: t.By,
	}
}

func appliedOf(applied control.Applied) api.Applied {
	out := api.Applied{
		Revision: applied.Revision, Differences: differencesOf(applied.Differences), RestartNeeded: list(applied.RestartNeeded),
		Trial: trialOf(applied.Trial),
	}
	if carried := applied.Carried; carried != nil {
		out.Carried = &api.Carried{
			Existing: carried.Existing, Carried: carried.Carried, Store: storeOf(carried.Store),
			Reapplied: carried.CaughtUp.Changes, Missing: len(carried.CaughtUp.Missing),
		}
	}
	return out
}

func (a *API) discardConfig(c *call, _ none) (api.Discarded, error) {
	n, err := a.Control.Discard(c.request.Context(), c.caller)
	return api.Discarded{Discarded: n}, err
}

func (a *API) rollbackConfig(c *call, in api.Rollback) (api.Applied, error) {
	var f faults
	trial := f.trial("trial", in.Trial)
	if err := f.err(); err != nil {
		return api.Applied{}, err
	}
	applied, err := a.Control.Rollback(c.request.Context(), c.caller, in.Revision, trial)
	if err != nil {
		return api.Applied{}, err
	}
	return appliedOf(applied), nil
}

func propertyOf(p control.Property) api.Property {
	return api.Property{
		Name: p.Name, Group: p.Group, Help: p.Help, Type: p.Type, Choices: list(p.Choices), Default: p.Default, Example: p.Example,
		Aliases: list(p.Aliases), Env: p.Env, Running: p.Running, Source: p.Source, Applied: p.Applied, Staged: p.Staged, Unsets: p.Unsets,
		Live: p.Live, LockOut: p.LockOut, Secret: p.Secret, Waiting: p.Waiting, ReadOnly: p.ReadOnly,
	}
}

func stagingOf(s control.Staging) api.Staging {
	return api.Staging{
		Revision: s.Revision, Count: s.Count, NeedsRestart: s.NeedsRestart, Waiting: s.Waiting, By: s.By, At: moment(s.At),
		Trial: trialOf(s.Trial),
	}
}

func differencesOf(in []control.Difference) []api.Difference {
	out := make([]api.Difference, 0, len(in))
	for _, d := range in {
		out = append(out, differenceOf(d))
	}
	return out
}

func differenceOf(d control.Difference) api.Difference {
	return api.Difference{Property: d.Property, Before: d.Before, After: d.After, Live: d.Live, Note: d.Note, Warning: d.Warning}
}
