package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// nginxConf has a server before each of the addresses that it asks: the answer
// itself is an image of nginx's own, so all the rest is asking. What it asks with
// is what deploy/nginx asks with.
const nginxConf = `
{{if .Root}}user root;{{end}}
daemon off;
worker_processes 1;
pid {{.Folder}}/pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path {{.Folder}}/1; proxy_temp_path {{.Folder}}/2; fastcgi_temp_path {{.Folder}}/3; uwsgi_temp_path {{.Folder}}/4; scgi_temp_path {{.Folder}}/5;
	{{range $i, $s := .Servers}}
	upstream asked{{$i}} { server {{$s.Asks}}; keepalive 64; keepalive_requests 1000000000; }
	server {
		listen {{$s.Listens}};
		location / {
			auth_request /verify;
			auth_request_set $client_id $upstream_http_x_auth_client_id;
			auth_request_set $role $upstream_http_x_auth_role;
			auth_request_set $tags $upstream_http_x_auth_tags;
			auth_request_set $token_id $upstream_http_x_auth_token_id;
			empty_gif;
		}
		location = /verify {
			internal;
			proxy_pass http://asked{{$i}}/auth/verify;
			proxy_pass_request_body off;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Content-Length "";
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Method $request_method;
			proxy_set_header X-Forwarded-Uri $request_uri;
		}
	}
	{{end}}
}
`

// nginx is one that asks.
type nginx struct {
	cmd    *exec.Cmd
	folder string
	front  []string // where it listens, before each of the addresses it asks
}

var errNoNginx = errors.New("nginx is not installed")

// startNginx starts nginx before some addresses, on the core of the servers: it
// and what it asks share it, as they do on a small machine.
func (p plan) startNginx(ctx context.Context, asks ...string) (_ *nginx, err error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, errNoNginx
		}
	}
	n := &nginx{}
	if n.folder, err = os.MkdirTemp("", "mintmark-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(n.folder))
		}
	}()
	type server struct{ Listens, Asks string }
	var servers []server
	for _, asked := range asks {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		n.front = append(n.front, l.Addr().String())
		servers = append(servers, server{l.Addr().String(), asked})
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	var conf strings.Builder
	if err := template.Must(template.New("").Parse(nginxConf)).Execute(&conf, map[string]any{"Root": os.Geteuid() == 0, "Folder": n.folder, "Servers": servers}); err != nil {
		return nil, err
	}
	file := filepath.Join(n.folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		return nil, err
	}
	n.cmd = onCores(ctx, p.serverCore, program, "-p", n.folder, "-c", file)
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(os.Interrupt) } // so that it ends its workers
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	return n, n.wait(ctx)
}

func (n *nginx) wait(ctx context.Context) error {
	for range 200 {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.front[0])
		if err == nil {
			return conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(errors.New("nginx does not answer"), n.end())
}

func (n *nginx) end() error {
	err := n.cmd.Process.Signal(os.Interrupt)
	_ = n.cmd.Wait() // it was told to end
	return errors.Join(err, os.RemoveAll(n.folder))
}

// askedByNginx is a contest through nginx, which asks the door and its floor.
func (p plan) askedByNginx(ctx context.Context, doors *served, o opened) (err error) {
	const name = "nginx auth_request"
	if !p.only.MatchString(name) {
		return nil
	}
	n, err := p.startNginx(ctx, o.Addresses["doors"], o.Addresses["forward-auth floor"])
	if errors.Is(err, errNoNginx) {
		write(row{Section: "doors", What: name, Measure: "rate", Least: 0.85, Context: "not measured: " + err.Error()})
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, n.end()) }()
	through := func(front string) target { return target{front, o.each(call), speakHTTP} }
	return p.measure(ctx, doors, contest{name, []side{
		{target: through(n.front[0])}, {name: "auth_request to a bare handler of the same bytes", target: through(n.front[1]), rate: 0.85},
	}})
}
