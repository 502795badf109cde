// Package extauthz is the door that Envoy asks: envoy.service.auth.v3
// Authorization/Check, by gRPC.
//
// It touches the messages of a check only. It is a room of its own so that gRPC
// and Envoy's messages stay out of the doors that speak HTTP.
//
// The one hard idea: an answer of this door is always a verdict. Envoy lets a
// request through after an error if its configuration says so, and never after a
// refusal; so whatever goes wrong in here is answered as a refusal.
package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/peer"

	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"
)

// Config is what a Server is made of.
type Config struct {
	Live edge.Decider
	// Audience is the server's own audience: a check can ask for one of these and
	// for no other.
	Audience func() []string
	// TrustedProxies are the peers that may say where a client is; nil: none.
	TrustedProxies func() []netip.Prefix
	// Ready reports whether the live set is loaded.
	Ready func() bool
	// NewID makes a request id, for a check whose own cannot be believed.
	NewID func() string
	Log   *slog.Logger
}

func (c Config) check() error {
	if c.Live == nil || c.Audience == nil || c.TrustedProxies == nil || c.Ready == nil || c.NewID == nil || c.Log == nil {
		return errors.New("extauthz: a member of Config is missing")
	}
	return nil
}

// door answers checks.
type door struct {
	authv3.UnimplementedAuthorizationServer
	Config
}

// Check answers whether a request may pass. The credential is the request's
// authorization; context_extensions demand more: role, tag (several are separated
// by commas), client_id, audience. Another name in there is a mistake of the
// configuration, and nothing passes. An allowed request gets the four identity
// headers, and loses whatever else a program could take for one of them.
func (d *door) Check(ctx context.Context, r *authv3.CheckRequest) (answer *authv3.CheckResponse, _ error) {
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may hold a secret; its type does not.
			d.Log.Error("check panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			answer = fault()
		}
	}()
	attributes := r.GetAttributes()
	asked := fieldsOf(attributes.GetRequest().GetHttp())
	cred := edge.BearerIn(asked.query, asked.authorization)
	demand := d.demand(attributes.GetContextExtensions())
	if cred.Fault != "" {
		demand.Fault = cred.Fault
	}
	demand.Purpose = liveset.ForToken
	d.locate(ctx, attributes, asked.forwardedFor, &demand)
	verdict := d.Live.Decide(cred.Text, demand)
	if d.Log.Enabled(ctx, slog.LevelDebug) {
		d.Log.DebugContext(ctx, "check", "request_id", demand.RequestID, "verdict", verdict.Reason.String(), "from", demand.From.String())
	}
	if !verdict.Allow() {
		return refuse(gateway.Tell(verdict, cred, demand), demand.RequestID, verdict.Quota), nil
	}
	return allow(&verdict, asked.spoofed), nil
}

// fields are what a check looks at of a request.
type fields struct {
	query         string
	authorization []string
	forwardedFor  []string
	spoofed       []string // names that some program takes for ours, in another spelling
}

// fieldsOf reads the fields in either of the forms in which Envoy sends them: by
// name, with those that came twice joined by commas, or one by one.
func fieldsOf(r *authv3.AttributeContext_HttpRequest) (f fields) {
	_, f.query, _ = strings.Cut(r.GetPath(), "?")
	if r.GetQuery() != "" {
		f.query += "&" + r.GetQuery()
	}
	for name, value := range r.GetHeaders() {
		f.add(name, value)
	}
	for _, h := range r.GetHeaderMap().GetHeaders() {
		value := h.GetValue()
		if len(h.GetRawValue()) > 0 {
			value = string(h.GetRawValue())
		}
		f.add(h.GetKey(), value)
	}
	return f
}

func (f *fields) add(name, value string) {
	switch len(name) {
	case len("authorization"), len("x-forwarded-for"), len("x-auth-client-id"), len("x-auth-role"): // as long as the others
	default:
		return // nothing that we look at is so long
	}
	switch {
	case strings.EqualFold(name, "authorization"):
		f.authorization = append(f.authorization, value)
	case strings.EqualFold(name, "x-forwarded-for"):
		f.forwardedFor = append(f.forwardedFor, value)
	case gateway.IsIdentity(name) && !isOurs(name):
		f.spoofed = append(f.spoofed, name)
	}
}

// isOurs: what has the name of ours, in any case, is overwritten. To have it
// removed would take ours away: Envoy removes after it has set.
func isOurs(name string) bool {
	for _, own := range identityNames() {
		if strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// demand reads what the configuration of Envoy asks.
func (d *door) demand(extensions map[string]string) liveset.Demand {
	if len(extensions) == 0 {
		return liveset.Demand{}
	}
	asked := make(map[string][]string, len(extensions))
	for name, value := range extensions {
		switch name {
		case "role", "client_id", "audience":
			asked[name] = []string{value}
		case "tag":
			for tag := range strings.SplitSeq(value, ",") {
				asked[name] = append(asked[name], strings.TrimSpace(tag))
			}
		default:
			return liveset.Demand{Fault: "context_extensions demand role, tag, client_id or audience."}
		}
	}
	return gateway.ReadDemand(asked, d.Audience())
}

// locate finds out where a request comes from, and its id. Whoever asks may say so
// if it is a configured proxy; else it is the one who asks, and the id is ours.
func (d *door) locate(ctx context.Context, a *authv3.AttributeContext, forwardedFor []string, demand *liveset.Demand) {
	demand.RequestID = d.NewID()
	p, ok := peer.FromContext(ctx)
	if !ok {
		return
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return
	}
	trusted, proxied := d.TrustedProxies(), false
	if demand.From, proxied, _ = edge.ClientAddr(tcp.AddrPort().Addr(), nil, trusted); !proxied {
		return
	}
	if id := a.GetRequest().GetHttp().GetId(); edge.IsID(id) {
		demand.RequestID = id
	}
	if source, err := netip.ParseAddr(a.GetSource().GetAddress().GetSocketAddress().GetAddress()); err == nil {
		demand.Via = demand.From
		demand.From, _, _ = edge.ClientAddr(source, forwardedFor, trusted)
	}
}
