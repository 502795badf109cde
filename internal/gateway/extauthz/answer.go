package extauthz

import (
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"
)

func identityNames() [4]string {
	return [...]string{"x-auth-client-id", "x-auth-role", "x-auth-tags", "x-auth-token-id"}
}

// allowance is an answer that allows, in one piece of memory: this is what a
// check costs beside the transport.
type allowance struct {
	answer  authv3.CheckResponse
	oneOf   authv3.CheckResponse_OkResponse
	ok      authv3.OkHttpResponse
	status  rpcstatus.Status
	options [4]corev3.HeaderValueOption
	headers [4]corev3.HeaderValue
	list    [4]*corev3.HeaderValueOption
}

// allow says whom the token speaks for. All four are set, also when empty: one
// that is absent would let the client's own through.
func allow(v *liveset.Verdict, spoofed []string) *authv3.CheckResponse {
	who := &v.Identity
	a := new(allowance)
	values := [...]string{who.ClientID, string(who.Role), who.TagList, who.ID}
	for i, name := range identityNames() {
		a.headers[i].Key, a.headers[i].Value = name, values[i]
		a.options[i].Header, a.options[i].KeepEmptyValue = &a.headers[i], true
		a.options[i].AppendAction = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		a.list[i] = &a.options[i]
	}
	a.ok.Headers, a.ok.HeadersToRemove = a.list[:], spoofed
	if v.Quota != nil {
		a.ok.ResponseHeadersToAdd = quota(v.Quota)
	}
	a.oneOf.OkResponse = &a.ok
	a.answer.Status, a.answer.HttpResponse = &a.status, &a.oneOf
	return &a.answer
}

// fault is the answer when something went wrong in here.
func fault() *authv3.CheckResponse {
	return refuse(gateway.TellFault(http.StatusInternalServerError, "internal", "Something went wrong on the server."), "", nil)
}

// refuse is a refusal with what Envoy is to answer its client.
func refuse(told gateway.Told, requestID string, left *liveset.Quota) *authv3.CheckResponse {
	headers := []*corev3.HeaderValueOption{
		header("content-type", "application/problem+json"), header("cache-control", "no-store"), header("x-content-type-options", "nosniff"),
	}
	if requestID != "" {
		headers = append(headers, header("x-request-id", requestID))
	}
	if told.Challenge != "" {
		headers = append(headers, header("www-authenticate", told.Challenge))
	}
	if told.Status == http.StatusServiceUnavailable {
		headers = append(headers, header("retry-after", "5"))
	}
	headers = append(headers, quota(left)...)
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codeOf(told.Status)), Message: http.StatusText(told.Status)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(told.Status)}, Headers: headers, Body: string(told.Body),
		}},
	}
}

// codeOf is never OK: that would let the request through.
func codeOf(status int) codes.Code {
	switch status {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	return codes.Internal
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func quota(left *liveset.Quota) []*corev3.HeaderValueOption {
	told := make(http.Header)
	edge.TellQuota(told, left)
	var headers []*corev3.HeaderValueOption
	for name, values := range told {
		headers = append(headers, header(strings.ToLower(name), values[0]))
	}
	return headers
}
