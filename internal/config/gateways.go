package config

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"mintmark/internal/pathrule"
)

// The properties of the doors that have a listener of their own.
const (
	ExtAuthzListen     = "gateway.ext_authz.listen"
	GuardUpstream      = "guard.upstream"
	GuardListen        = "guard.listen"
	GuardPublicPaths   = "guard.public_paths"
	GuardRules         = "guard.rules"
	GuardAuthorization = "guard.authorization"
	GuardTimeout       = "guard.timeout"
)

// Gateways are the settings of these doors.
type Gateways struct {
	ExtAuthz      string // address; "" = none
	GuardUpstream string // scheme and host; "" = no guard
	GuardListen   string
	GuardRules    pathrule.Rules // public paths among them
	GuardKeeps    bool           // the API sees Authorization
	GuardTimeout  time.Duration
}

func gatewayProperties() []Property {
	const group = "Gateways"
	return []Property{
		{
			Name: ExtAuthzListen, Group: group, Type: "address", Example: "127.0.0.1:3001", check: address,
			Help: "The address and port of Envoy's ext_authz by gRPC, with the server's certificate if it has one; unset is none.",
		},
		{
			Name: GuardUpstream, Group: group, Type: "url", Example: "http://127.0.0.1:9000", check: upstream,
			Help: "The API that the guard hands requests on to; unset is no guard.",
		},
		{Name: GuardListen, Group: group, Type: "address", Default: "127.0.0.1:8080", Help: "The address and port at which the guard listens, with the server's certificate if it has one.", check: address},
		{
			Name: GuardPublicPaths, Group: group, Type: "list", Live: true, Example: "/healthz, GET /docs",
			Help: "The paths that the guard lets pass without a token, separated by commas, each with the methods that it is for in front; GET|POST is two.", check: rules(pathrule.ParsePublic),
		},
		{
			Name: GuardRules, Group: group, Type: "list", Live: true, Example: "/admin role=admin",
			Help: "What paths demand of a token at the guard, separated by commas: methods, a path, role=admin or tag=name:value; the longest path wins.", check: rules(pathrule.Parse),
		},
		choice(GuardAuthorization, group, "strip", "Whether the API behind the guard sees the Authorization field.", "strip", "keep"),
		restart(duration(GuardTimeout, group, "30s", "How long the API may take to begin its answer, and a client to send or take the next part of a body.", time.Second)),
	}
}

// upstream is an http or https URL of a host and nothing more: the path that is
// judged is the path that is asked for. What was pasted may hold a password, so no
// error repeats it.
func upstream(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || strings.ContainsAny(s, " ?#\"\\") {
		return "", errors.New("it is not an http or https URL without a path; no user name, password or query has a place in it")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

func rules(read func(string) ([]pathrule.Rule, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		list, err := read(s)
		if err == nil {
			_, err = pathrule.Join(list)
		}
		if err != nil {
			return "", err
		}
		return pathrule.Text(list), nil
	}
}

// gateways converts checked texts. Its error is about rules that do not go
// together.
func gateways(values map[string]Value) (Gateways, error) {
	text := func(name string) string { return values[name].Text }
	timeout, _ := ParseDuration(text(GuardTimeout)) // checked
	g := Gateways{
		ExtAuthz: text(ExtAuthzListen), GuardUpstream: text(GuardUpstream), GuardListen: text(GuardListen),
		GuardKeeps: text(GuardAuthorization) == "keep", GuardTimeout: timeout,
	}
	var lists [2][]pathrule.Rule
	if public := text(GuardPublicPaths); public != "" {
		lists[0], _ = pathrule.ParsePublic(public) // checked
	}
	if demands := text(GuardRules); demands != "" {
		lists[1], _ = pathrule.Parse(demands)
	}
	var err error
	g.GuardRules, err = pathrule.Join(lists[0], lists[1])
	return g, err
}

// checkGateways holds the addresses of listeners against each other.
func (s Settings) checkGateways() []Fault {
	var faults []Fault
	g := s.Gateways
	taken := map[string]string{s.Listen: Listen}
	if s.Metrics != "" {
		taken[s.Metrics] = Metrics
	}
	claim := func(address, name string) {
		if other, is := taken[address]; is {
			faults = append(faults, Fault{name, "it is the address of " + other})
		}
		taken[address] = name
	}
	if g.ExtAuthz != "" {
		claim(g.ExtAuthz, ExtAuthzListen)
	}
	if g.GuardUpstream != "" {
		claim(g.GuardListen, GuardListen)
		if _, host, _ := strings.Cut(g.GuardUpstream, "://"); host == g.GuardListen {
			faults = append(faults, Fault{GuardUpstream, "the guard would hand requests on to itself"})
		}
	}
	return faults
}
