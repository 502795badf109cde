package grpcverify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"mintmark/verify"
	"mintmark/verify/grpcverify"
)

// verifier knows tokens by name.
type verifier map[string]verify.Identity

func (v verifier) Verify(_ context.Context, token string) (verify.Identity, error) {
	if token == "outage" {
		return verify.Identity{Role: "admin"}, fmt.Errorf("%w: the disk at /srv", verify.ErrUnknown)
	}
	if token == "odd" {
		return verify.Identity{Role: "admin"}, errors.New("the disk at /srv")
	}
	i, known := v[token]
	if !known {
		return verify.Identity{}, verify.ErrInvalid
	}
	return i, nil
}

// service is a health service that says who asks.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
	entered atomic.Int64
	t       *testing.T
}

func (s *service) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s.entered.Add(1)
	if who, _ := verify.FromContext(ctx); who.ClientID != r.GetService() {
		s.t.Errorf("%s finds %q", r.GetService(), who.ClientID)
	}
	return &grpc_health_v1.HealthCheckResponse{}, nil
}

func (s *service) Watch(r *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	answer, err := s.Check(stream.Context(), r)
	if err != nil {
		return err
	}
	return stream.Send(answer)
}

// serve is a client of a server with the interceptors.
func serve(t *testing.T, v verify.Verifier, rule grpcverify.Rule) (*service, grpc_health_v1.HealthClient) {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcverify.Unary(v, rule)), grpc.StreamInterceptor(grpcverify.Stream(v, rule)))
	s := &service{t: t}
	grpc_health_v1.RegisterHealthServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return s, grpc_health_v1.NewHealthClient(conn)
}

// call makes a call of one kind as a client.
func call(ctx context.Context, client grpc_health_v1.HealthClient, stream bool, as string) error {
	request := &grpc_health_v1.HealthCheckRequest{Service: as}
	if !stream {
		_, err := client.Check(ctx, request)
		return err
	}
	answers, err := client.Watch(ctx, request)
	if err == nil {
		_, err = answers.Recv()
	}
	return err
}

func TestOnlyCallsThatMeetTheRuleReachTheMethod(t *testing.T) {
	known := verifier{
		"user": {ClientID: "batch", Role: "user", Tags: []string{"team:data"}}, "admin": {ClientID: "root-script", Role: "admin"}, "verifier": {ClientID: "gate", Role: "verifier"},
	}
	for name, c := range map[string]struct {
		demand verify.Demand
		fields []string
		want   codes.Code
		as     string
	}{
		"a user":              {verify.Demand{Tags: []string{"team:data"}}, []string{"Bearer user"}, codes.OK, "batch"},
		"another scheme":      {verify.Demand{}, []string{"JWT user"}, codes.OK, "batch"},
		"an admin":            {verify.Demand{Role: "admin"}, []string{"Bearer admin"}, codes.OK, "root-script"},
		"a user for an admin": {verify.Demand{Role: "admin"}, []string{"Bearer user"}, codes.PermissionDenied, ""},
		"without the tag":     {verify.Demand{Tags: []string{"env:prod"}}, []string{"Bearer user"}, codes.PermissionDenied, ""},
		"a verifier":          {verify.Demand{}, []string{"Bearer verifier"}, codes.PermissionDenied, ""},
		"nobody":              {verify.Demand{}, nil, codes.Unauthenticated, ""},
		"another credential":  {verify.Demand{}, []string{"Basic user"}, codes.Unauthenticated, ""},
		"an invalid token":    {verify.Demand{}, []string{"Bearer nobody"}, codes.Unauthenticated, ""},
		"two credentials":     {verify.Demand{}, []string{"Bearer user", "Bearer user"}, codes.Unauthenticated, ""},
		"a list":              {verify.Demand{}, []string{"Bearer user,Bearer user"}, codes.Unauthenticated, ""},
		"an outage":           {verify.Demand{}, []string{"Bearer outage"}, codes.Unavailable, ""},
		"an odd error":        {verify.Demand{}, []string{"Bearer odd"}, codes.Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				s, client := serve(t, known, grpcverify.Every(c.demand))
				ctx := t.Context()
				for _, field := range c.fields {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", field)
				}
				err := call(ctx, client, stream, c.as)
				if status.Code(err) != c.want || s.entered.Load() == 1 != (c.want == codes.OK) {
					t.Errorf("stream %v: %v, entered %d times", stream, err, s.entered.Load())
				}
				if err != nil && (strings.Contains(err.Error(), "disk") || strings.Contains(err.Error(), "Bearer")) {
					t.Errorf("the client is told %v", err)
				}
			}
		})
	}
}

func TestAnOpenMethodIsForAnybodyAndNoOtherIs(t *testing.T) {
	rule := func(method string) (verify.Demand, bool) {
		return verify.Demand{}, method == grpc_health_v1.Health_Check_FullMethodName
	}
	_, client := serve(t, verifier{}, rule)
	if err := call(t.Context(), client, false, ""); err != nil {
		t.Error(err)
	}
	bad := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer nobody")
	if err := call(bad, client, false, ""); err != nil {
		t.Errorf("with a bad token: %v", err)
	}
	if err := call(t.Context(), client, true, ""); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the other method answers %v", err)
	}
}

func TestAContextWithoutMetadataHasNoToken(t *testing.T) {
	handler := func(context.Context, any) (any, error) {
		t.Error("entered")
		return nil, nil
	}
	_, err := grpcverify.Unary(verifier{"": {Role: "admin"}}, grpcverify.Every(verify.Demand{}))(t.Context(), nil, &grpc.UnaryServerInfo{}, handler)
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("answered %v", err)
	}
}

// The health of a service is for anybody, and everything else for administrators.
func ExampleUnary() {
	v, err := verify.NewOffline(verify.OfflineConfig{Issuer: "https://tokens.example", Audience: []string{"https://api.example"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	rule := func(method string) (verify.Demand, bool) {
		return verify.Demand{Role: "admin"}, method == grpc_health_v1.Health_Check_FullMethodName
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcverify.Unary(v, rule)), grpc.StreamInterceptor(grpcverify.Stream(v, rule)))
	defer server.Stop()
	fmt.Println(len(server.GetServiceInfo()))
	// Output: 0
}
