// Package tracing tells an OpenTelemetry collector of requests and of changes of
// the store.
//
// It sends spans to the collector that the standard environment variables name
// (OpenTelemetry specification, "Environment Variable Specification"). A span has
// the pattern of a route, a status, a request id and the reason of a verdict:
// never a path, a query, a header or a token.
//
// The one hard idea: a trace that somebody else began is taken on only from a
// configured proxy. A stranger could else decide what is recorded, and tie its
// own traces to other people's.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// Wanted reports whether the environment switches traces on: an endpoint is
// named, and nothing switches them off. Its error says that what is asked for
// cannot be done.
func Wanted(getenv func(string) (string, bool)) (bool, error) {
	get := func(name string) string { v, _ := getenv(name); return v }
	switch exporter := get("OTEL_TRACES_EXPORTER"); exporter {
	case "", "otlp":
	case "none":
		return false, nil
	default:
		return false, errors.New("OTEL_TRACES_EXPORTER is neither otlp nor none")
	}
	if get("OTEL_SDK_DISABLED") == "true" || get("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return false, nil
	}
	protocol := get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = get("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return false, errors.New("traces are sent as http/protobuf only: unset OTEL_EXPORTER_OTLP_PROTOCOL, and name the collector's HTTP port")
	}
	return true, nil
}

// Tracing sends spans. A nil *Tracing sends none.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	context  propagation.TraceContext
}

// Start begins to send, in the background, until Close. The OpenTelemetry SDK
// reads its settings from the environment of the process; what goes wrong later
// goes to log.
func Start(ctx context.Context, version string, log *slog.Logger) (*Tracing, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces were not sent", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "mintmark"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracing{provider: provider, tracer: provider.Tracer("mintmark")}, nil
}

// Close sends what waits and ends.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Request begins the span of a request; see [edge.Config].
func (t *Tracing) Request(r *http.Request, in edge.Inbound) (context.Context, func(edge.Outcome)) {
	ctx := r.Context()
	if in.Proxied {
		ctx = t.context.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method(r.Method)), attribute.String("mintmark.request_id", in.RequestID),
	))
	return ctx, func(o edge.Outcome) {
		span.SetName(o.Route)
		span.SetAttributes(attribute.String("http.route", o.Route), attribute.Int("http.response.status_code", o.Status))
		if o.Verdict != liveset.Undecided {
			span.SetAttributes(attribute.String("mintmark.verdict", o.Verdict.String()))
		}
		if o.Status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// method is one that everybody knows, or _OTHER: a span has no text that a
// stranger chose (semantic conventions for HTTP spans).
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// Store is s, with a span around every change.
func (t *Tracing) Store(s authority.Store) authority.Store { return store{s, t} }

type store struct {
	authority.Store
	tracing *Tracing
}

// Update implements [authority.Store].
func (s store) Update(ctx context.Context, fn func(authority.Tx) error) error {
	ctx, span := s.tracing.tracer.Start(ctx, "store.update", trace.WithAttributes(attribute.String("mintmark.store", s.Facts().Kind)))
	defer span.End()
	err := s.Store.Update(ctx, fn)
	switch kind := authority.KindOf(err); {
	case err == nil:
	case kind == authority.Internal, kind == authority.Unavailable, kind == authority.Full:
		span.SetStatus(codes.Error, kind.Error())
	default: // the rules refused it
		span.SetAttributes(attribute.String("mintmark.refused", kind.Error()))
	}
	return err
}
