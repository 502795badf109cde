package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"mintmark/internal/gateway/extauthz"
)

// openChecks serves the door that Envoy asks, and a bare server of the same
// answer.
func (h *house) openChecks(ctx context.Context, told *opened) error {
	door, err := extauthz.New(extauthz.Config{
		Live: h.door("ext_authz"), Audience: h.audience, TrustedProxies: h.proxies, Ready: h.live.Ready, NewID: newID, Log: h.log,
	})
	if err != nil {
		return err
	}
	if told.Addresses["check"], err = listen(ctx, door.Serve); err != nil {
		return err
	}
	conn, err := grpc.NewClient(told.Addresses["check"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := authv3.NewAuthorizationClient(conn).Check(ctx, checkOf(told.Tokens[0]))
	if err != nil || answer.GetOkResponse() == nil {
		return fmt.Errorf("a check answers %v: %w", answer, err)
	}
	floor := grpc.NewServer()
	authv3.RegisterAuthorizationServer(floor, bareCheck{answer: answer})
	told.Addresses["check floor"], err = listen(ctx, floor.Serve)
	return err
}

// bareCheck knows its answer beforehand.
type bareCheck struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

// Check implements the service.
func (b bareCheck) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return b.answer, nil
}

// checkOf is what Envoy asks about a request.
func checkOf(token string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 40412},
		}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "1", Method: "GET", Path: "/items", Host: "api.example", Scheme: "http", Protocol: "HTTP/1.1",
			Headers: map[string]string{
				":authority": "api.example", ":method": "GET", ":path": "/items", ":scheme": "http", "accept": "application/json",
				"authorization": "Bearer " + token, "x-forwarded-proto": "http", "x-request-id": "5f2e1c1e-0f5e-4d0e-9f8e-2f0c6a7b8c9d",
			},
		}},
	}}
}

// check is the message of a check, as gRPC frames it.
func check(token string) []byte {
	message, err := proto.Marshal(checkOf(token))
	if err != nil {
		return nil // no server takes it, so nobody measures it
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// The frames of HTTP/2 that are spoken here (RFC 9113 section 6).
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway, frameWindow = 0, 1, 3, 4, 6, 7, 8

	endStream, acknowledged, endHeaders = 1, 1, 4
)

// http2 is HTTP/2 as far as a gRPC call needs it, one at a time: Go's own client
// takes more of a core than the server that it would measure.
type http2 struct {
	conn   net.Conn
	in     []byte
	filled int
	out    []byte
	stream uint32
	answer []byte // how an answer that was found good begins
}

func speakGRPC(conn net.Conn) client {
	c := &http2{conn: conn, in: make([]byte, 16<<10)}
	c.out = append(c.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	c.out = appendFrame(c.out, frameSettings, 0, 0, nil)
	// Room for everything that comes: no window has to be widened later.
	c.out = appendFrame(c.out, frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, 1<<30))
	return c
}

func appendFrame(to []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	to = append(to, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	return append(binary.BigEndian.AppendUint32(to, stream), payload...)
}

// headers are those of a call: written out and remembered by both sides first,
// by number from then on (RFC 7541 section 6).
func headers(first bool) []byte {
	if !first {
		return []byte{0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62}
	}
	b := []byte{0x83, 0x86} // POST, http
	text := func(s string) { b = append(append(b, byte(len(s))), s...) }
	b = append(b, 0x44)
	text(authv3.Authorization_Check_FullMethodName)
	b = append(b, 0x41)
	text("tokens.example")
	b = append(b, 0x5f)
	text("application/grpc")
	b = append(b, 0x40)
	text("te")
	text("trailers")
	return b
}

func (c *http2) exchange(request []byte) error {
	first := c.stream == 0
	if first {
		c.stream = 1
	} else {
		c.stream += 2
	}
	c.out = appendFrame(c.out, frameHeaders, endHeaders, c.stream, headers(first))
	c.out = appendFrame(c.out, frameData, endStream, c.stream, request)
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	for done := false; err == nil && !done; {
		done, err = c.frame()
	}
	return err
}

// frame reads one frame and reports whether the answer is complete.
func (c *http2) frame() (done bool, err error) {
	const size = 9
	if err := c.fill(size); err != nil {
		return false, err
	}
	length := int(c.in[0])<<16 | int(c.in[1])<<8 | int(c.in[2])
	kind, flags, stream := c.in[3], c.in[4], binary.BigEndian.Uint32(c.in[5:])
	if err := c.fill(size + length); err != nil {
		return false, err
	}
	payload := c.in[size : size+length]
	switch {
	case kind == frameReset, kind == frameGoAway:
		return false, fmt.Errorf("the server gives up: frame %d, %q", kind, payload)
	case kind == frameSettings && flags&acknowledged == 0:
		c.out = appendFrame(c.out, frameSettings, acknowledged, 0, nil)
	case kind == framePing && flags&acknowledged == 0:
		c.out = appendFrame(c.out, framePing, acknowledged, 0, payload)
	case kind == frameData:
		err = c.judge(payload)
	}
	done = stream == c.stream && (kind == frameHeaders || kind == frameData) && flags&endStream != 0
	if done && c.answer == nil {
		err = errors.New("the answer has no message")
	}
	c.filled = copy(c.in, c.in[size+length:c.filled])
	return done, err
}

// fill reads until so many bytes are there.
func (c *http2) fill(n int) error {
	if n > len(c.in) {
		return errors.New("the frame is too long")
	}
	for c.filled < n {
		m, err := c.conn.Read(c.in[c.filled:])
		if err != nil {
			return err
		}
		c.filled += m
	}
	return nil
}

// judge wants every answer to allow. The first is read; the others begin as it
// does, or they say something else.
func (c *http2) judge(message []byte) error {
	const prefix, begin = 5, 8
	if len(message) < prefix+begin {
		return errors.New("the answer is short")
	}
	if c.answer != nil && bytes.Equal(c.answer, message[prefix+2:prefix+begin]) {
		return nil
	}
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(message[prefix:], &answer); err != nil {
		return err
	}
	if answer.GetOkResponse() == nil {
		return fmt.Errorf("the answer is %v", &answer)
	}
	c.answer = bytes.Clone(message[prefix+2 : prefix+begin])
	return nil
}
