// Package grpcverify checks Mintmark's API tokens in front of the methods of a
// gRPC server: what verify.Require is for net/http.
//
// It touches the metadata of calls, and whatever its verify.Verifier touches. It
// is a package of its own so that package verify needs no gRPC.
package grpcverify

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mintmark/verify"
)

// Rule answers what a method asks of a token, by its full name
// "/package.Service/Method". A method that is open is for anybody, also without
// a token.
type Rule func(fullMethod string) (d verify.Demand, open bool)

// Every asks the same of every method.
func Every(d verify.Demand) Rule {
	return func(string) (verify.Demand, bool) { return d, false }
}

// Unary lets only calls through whose bearer token, in the metadata
// authorization, is valid and meets the rule; the handler finds the identity
// with verify.FromContext. The others are answered with Unauthenticated,
// PermissionDenied, or Unavailable while the state of the token is not known, and
// the handler is not called.
func Unary(v verify.Verifier, rule Rule) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := admit(ctx, v, rule, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// Stream is Unary for streams. A token is checked when a stream begins: one that
// is deleted later does not end it.
func Stream(v verify.Verifier, rule Rule) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := admit(stream.Context(), v, rule, info.FullMethod)
		if err != nil {
			return err
		}
		return handler(server, admitted{stream, ctx})
	}
}

// admitted is a stream whose context has the identity.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (a admitted) Context() context.Context { return a.ctx }

func admit(ctx context.Context, v verify.Verifier, rule Rule, method string) (context.Context, error) {
	d, open := rule(method)
	if open {
		return ctx, nil
	}
	token, err := verify.Bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if err != nil {
		return nil, refusal(err)
	}
	i, err := verify.Check(ctx, v, token, d)
	if err != nil {
		return nil, refusal(err)
	}
	return verify.NewContext(ctx, i), nil
}

// refusal tells a client the class of an error and no more.
func refusal(err error) error {
	for _, known := range []error{verify.ErrMissing, verify.ErrRequest, verify.ErrInvalid} {
		if errors.Is(err, known) {
			return status.Error(codes.Unauthenticated, known.Error())
		}
	}
	if errors.Is(err, verify.ErrForbidden) {
		return status.Error(codes.PermissionDenied, verify.ErrForbidden.Error())
	}
	return status.Error(codes.Unavailable, verify.ErrUnknown.Error())
}
