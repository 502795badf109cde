package conformance_test

import (
	"context"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"mintmark/internal/gateway/extauthz"
)

// openExtAuthz serves the door of Envoy and answers a client of it, which is an
// Envoy that may say where a request comes from.
func (h *house) openExtAuthz() {
	h.t.Helper()
	server, err := extauthz.New(extauthz.Config{
		Live: h.door("ext_authz"), Audience: h.audience, Ready: h.live.Ready, NewID: h.newID, Log: quiet(),
		TrustedProxies: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
	})
	must(h.t, err)
	var lc net.ListenConfig
	listener, err := lc.Listen(h.t.Context(), "tcp", "127.0.0.1:0")
	must(h.t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(h.t, err)
	h.t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		<-served
	})
	h.envoy = authv3.NewAuthorizationClient(conn)
}

// check asks Envoy's door.
func (h *house) check(q question) (*authv3.CheckResponse, error) {
	asked := make(map[string]string)
	for name, value := range map[string]string{"role": q.demand.role, "client_id": q.demand.clientID, "audience": q.demand.audience, "tag": strings.Join(q.demand.tags, ",")} {
		if value != "" {
			asked[name] = value
		}
	}
	r := q.request("GET", "/")
	var fields []*corev3.HeaderValue
	for _, value := range r.Header["Authorization"] {
		fields = append(fields, &corev3.HeaderValue{Key: "authorization", RawValue: []byte(value)})
	}
	return h.envoy.Check(context.Background(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: asked,
		Source:            &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: client}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: r.URL.RequestURI(), HeaderMap: &corev3.HeaderMap{Headers: fields},
		}},
	}})
}

func (h *house) askExtAuthz(q question) (class, id string) {
	answer, err := h.check(q)
	if err != nil {
		h.t.Errorf("a check that is no verdict: %v", err)
		return "?", ""
	}
	if ok := answer.GetOkResponse(); ok != nil && answer.GetStatus().GetCode() == int32(codes.OK) {
		for _, header := range ok.GetHeaders() {
			if header.GetHeader().GetKey() == "x-auth-token-id" {
				id = header.GetHeader().GetValue()
			}
		}
		return allow, id
	}
	return h.class(h.denial(answer)), ""
}

// denial is what Envoy answers its client.
func (h *house) denial(answer *authv3.CheckResponse) *httptest.ResponseRecorder {
	denied, w := answer.GetDeniedResponse(), httptest.NewRecorder()
	if denied == nil || answer.GetStatus().GetCode() == int32(codes.OK) {
		h.t.Errorf("neither allowed nor denied: %v", answer)
		return w
	}
	for _, header := range denied.GetHeaders() {
		w.Header().Set(header.GetHeader().GetKey(), header.GetHeader().GetValue())
	}
	w.WriteHeader(int(denied.GetStatus().GetCode()))
	_, _ = w.WriteString(denied.GetBody())
	return w
}
