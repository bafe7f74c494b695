package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"weir/internal/bench/load"
)

// proxy is one of those measured, while it runs.
type proxy struct {
	name   string
	plain  string // where it takes HTTP
	secure string // where it takes HTTPS; empty: it does not
	pids   []int  // of the processes that carry requests
	root   int    // the process below which they are; 0: pids are all
	// control is the socket of weir's control API; empty for others.
	control string
	stop    func()
}

// ground is what all proxies are started on.
type ground struct {
	weir     string // the binary
	beside   string // another one
	cpu      int    // that proxies run on
	dir      string
	instance string // where requests go
	cert     string // files
	key      string
	roots    *x509.CertPool
	files    int // that a process may open
}

// newGround makes the directory and the certificate.
func newGround(weir, instance string, cpu int) (*ground, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	g := &ground{weir: weir, cpu: cpu, dir: dir, instance: instance, files: manyFiles(), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	own, cert, key, err := load.Certificate()
	if err == nil {
		g.roots = x509.NewCertPool()
		g.roots.AddCert(own.Leaf)
		err = errors.Join(
			os.Chmod(dir, 0o755),
			os.WriteFile(g.cert, cert, 0o644),
			os.WriteFile(g.key, key, 0o644),
			os.WriteFile(filepath.Join(dir, "both.pem"), append(cert, key...), 0o644),
		)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return g, nil
}

// conns is how many connections a proxy can carry, each with one of its own to
// the instance.
func (g *ground) conns() int { return (g.files - 1000) / 2 }

func (g *ground) clear() { os.RemoveAll(g.dir) }

// besideName is another weir, as one before a change.
const besideName = "other-weir"

// errAbsent says that a proxy is not installed here.
var errAbsent = errors.New("not installed")

// starters start each proxy, in the order of the table.
var starters = []struct {
	name  string
	start func(context.Context, *ground) (*proxy, error)
}{
	{"weir", startWeir},
	{besideName, func(ctx context.Context, g *ground) (*proxy, error) {
		other := *g
		other.weir = g.beside
		return startWeir(ctx, &other)
	}},
	{"nginx", foreign("nginx", nginxConf, "-p", "{{.Dir}}", "-c", "{{.Conf}}", "-e", "stderr")},
	{"haproxy", foreign("haproxy", haproxyConf, "-q", "-db", "-f", "{{.Conf}}")},
	{"caddy", foreign("caddy", caddyConf, "run", "--adapter", "caddyfile", "--config", "{{.Conf}}")},
	{"reverseproxy", startReverseProxy},
}

// conf is what the configurations of others are made from.
type conf struct {
	Dir, Conf             string
	Plain, Secure         string // addresses
	PlainPort, SecurePort string
	Instance, Host        string
	Cert, Key, Both       string
	Root                  bool
	Files, Conns          int // that may be open
}

// The others do what weir does to a request, keep as many connections to the
// instance, and speak the same cipher suite. nginx writes an access log, as
// weir does; HAProxy and Caddy write none.
const (
	nginxConf = `{{if .Root}}user root;{{end}}
daemon off; worker_processes 1; pid {{.Dir}}/nginx.pid; error_log stderr crit;
events { worker_connections {{.Files}}; }
http {
	access_log {{.Dir}}/access.log combined buffer=64k flush=1s;
	client_body_temp_path {{.Dir}}/body; proxy_temp_path {{.Dir}}/temp; fastcgi_temp_path {{.Dir}}/fcgi; uwsgi_temp_path {{.Dir}}/uwsgi; scgi_temp_path {{.Dir}}/scgi;
	keepalive_requests 1000000000; keepalive_timeout 75s; tcp_nodelay on;
	ssl_certificate {{.Cert}}; ssl_certificate_key {{.Key}}; ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
	upstream app { server {{.Instance}}; keepalive 512; keepalive_requests 1000000000; }
	server { listen {{.Plain}} default_server backlog=4096; listen {{.Secure}} ssl http2 default_server; server_name _; return 404; }
	server {
		listen {{.Plain}}; listen {{.Secure}} ssl http2; server_name {{.Host}};
		location / {
			proxy_pass http://app; proxy_http_version 1.1; proxy_max_temp_file_size 0;
			proxy_set_header Connection ""; proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
		}
	}
}
`
	haproxyConf = `global
	nbthread 1
	maxconn {{.Conns}}
	ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
	mode http
	timeout connect 5s
	timeout client 75s
	timeout server 75s
frontend web
	bind {{.Plain}} backlog 4096
	bind {{.Secure}} ssl crt {{.Both}} alpn h2,http/1.1 backlog 4096
	option forwardfor
	http-request set-header X-Forwarded-Proto https if { ssl_fc }
	http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
	use_backend app if { hdr(host) -i {{.Host}} }
backend app
	http-reuse always
	server one {{.Instance}}
`
	caddyConf = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
(app) {
	bind 127.0.0.1
	reverse_proxy {{.Instance}} {
		transport http {
			keepalive_idle_conns 1024
			keepalive_idle_conns_per_host 1024
			compression off
		}
	}
}
http://{{.Host}}:{{.PlainPort}} {
	import app
}
https://{{.Host}}:{{.SecurePort}} {
	tls {{.Cert}} {{.Key}}
	import app
}
`
)

// foreign returns how a program from elsewhere is started.
func foreign(program, text string, args ...string) func(context.Context, *ground) (*proxy, error) {
	return func(_ context.Context, g *ground) (*proxy, error) {
		path, err := lookProgram(program)
		if err != nil {
			return nil, errAbsent
		}
		dir, err := os.MkdirTemp(g.dir, program+"-")
		if err != nil {
			return nil, err
		}
		c := conf{
			Dir: dir, Conf: filepath.Join(dir, program+".conf"), Plain: freeAddr(), Secure: freeAddr(), Instance: g.instance, Host: load.Host,
			Cert: g.cert, Key: g.key, Both: filepath.Join(g.dir, "both.pem"), Root: os.Geteuid() == 0, Files: g.files, Conns: g.conns(),
		}
		_, c.PlainPort, _ = net.SplitHostPort(c.Plain)
		_, c.SecurePort, _ = net.SplitHostPort(c.Secure)
		if err := os.WriteFile(c.Conf, []byte(fill(text, c)), 0o644); err != nil {
			return nil, err
		}
		cmd := exec.Command(path)
		for _, a := range args {
			cmd.Args = append(cmd.Args, fill(a, c))
		}
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return startProgram(g, program, cmd, c.Plain, c.Secure)
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func fill(text string, c conf) string {
	var b strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&b, c); err != nil {
		panic(err) // the texts are above
	}
	return b.String()
}

// lookProgram finds a program, also where PATH of an ordinary user ends.
func lookProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// startReverseProxy starts this program once more, as a plain Go proxy.
func startReverseProxy(_ context.Context, g *ground) (*proxy, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	plain, secure := freeAddr(), freeAddr()
	cmd := exec.Command(self, reverseProxyCommand, plain, secure, g.cert, g.key, g.instance)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return startProgram(g, "reverseproxy", cmd, plain, secure)
}

// startProgram starts a proxy and waits until it listens.
func startProgram(g *ground, name string, cmd *exec.Cmd, plain, secure string) (*proxy, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startOn(g.cpu, cmd); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	p := &proxy{name: name, plain: plain, secure: secure, stop: func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(2 * time.Second):
			for pid := range processesBelow(cmd.Process.Pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			<-ended
		}
	}}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", plain)
		if err == nil {
			c.Close()
			p.root = cmd.Process.Pid
			p.pids = tree(p.root)
			return p, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("ended: %s", lastLine(out.String()))
		default:
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s", name, plain)
		}
	}
}

// refresh finds the processes again: some are started after the first of them
// listens.
func (p *proxy) refresh() {
	if p.root != 0 {
		p.pids = tree(p.root)
	}
}

// tree returns a process and all below it.
func tree(root int) []int {
	var pids []int
	for pid := range processesBelow(root) {
		pids = append(pids, pid)
	}
	return pids
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:" + strconv.Itoa(20000+os.Getpid()%10000)
	}
	defer ln.Close()
	return ln.Addr().String()
}
