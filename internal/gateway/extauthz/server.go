package extauthz

import (
	"context"
	"net"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Server answers checks, and health checks (grpc.health.v1) as SERVING while the
// live set is loaded.
type Server struct{ grpc *grpc.Server }

// New makes a server and bounds what a client of it may take.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := grpc.NewServer(
		// A check has the header of a request, not its body.
		grpc.MaxRecvMsgSize(256<<10), grpc.MaxHeaderListSize(16<<10), grpc.MaxConcurrentStreams(1000), grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		// A goroutine of its own for each check would begin with a small stack, and
		// grow it every time.
		grpc.NumStreamWorkers(32),
	)
	authv3.RegisterAuthorizationServer(s, &door{Config: c})
	healthv1.RegisterHealthServer(s, health{ready: c.Ready})
	return &Server{s}, nil
}

// Serve answers on l until it is told to stop, then without an error.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Shutdown takes no more checks and waits for those under way, as long as ctx
// lasts.
func (s *Server) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop()
	if !stop() {
		return ctx.Err()
	}
	return nil
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.grpc.Stop()
	return nil
}

// health answers how the server is when it is asked; nobody is told of a change.
type health struct {
	healthv1.UnimplementedHealthServer
	ready func() bool
}

// Check implements the health service.
func (h health) Check(_ context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	switch {
	case r.GetService() != "" && r.GetService() != authv3.Authorization_ServiceDesc.ServiceName:
		return nil, status.Error(codes.NotFound, "there is no such service")
	case h.ready():
		return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}, nil
	}
	return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_NOT_SERVING}, nil
}
