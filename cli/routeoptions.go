package cli

// routeOptions are the options of a route, each with what it takes and does,
// in the order in which a request meets them. docs/API.md says more.
var routeOptions = [][2]string{
	{"https=redirect", "send http to https"},
	{"hsts=on", "tell browsers to use https only, for a year; or SECONDS; includeSubDomains; preload"},
	{"canonical-host=HOST", "redirect other hosts, of a wildcard route or its own, to HOST"},
	{"allow-ips=CIDRS", "403 for everybody else; addresses or networks, with commas"},
	{"deny-ips=CIDRS", "403 for these; goes before allow-ips"},
	{"max-body=10M", "413 for a larger body; no limit without it"},
	{"rate-limit=100/s", "429 beyond that; also 600/m burst=50, or 1000/h"},
	{"rate-limit-by=WHAT", "what is counted together: ip, route or header:NAME; ip without it"},
	{"basic-auth=USER:HASH", "ask for a password; HASH from openssl passwd -6 (SHA-crypt) or bcrypt; more users after blanks"},
	{"sticky=BY", "keep a client with its version: cookie, ip, header:NAME or off; see weir sticky"},
	{"sticky-salt=rotate", "each rollout begins with other clients; fixed: with the same"},
	{"sticky-max-age=30d", "how long the cookie lives, or session"},
	{"sticky-cookie=NAME", "what it is called; weir-position without it"},
	{"sticky-same-site=lax", "or strict, or none"},
	{"version-header=MODE", "X-Route-Version chooses a version (in), is in the answer (out), or both (on); off without it"},
	{"skew=1h", "for how long a version that is gone answers what its own pages ask for"},
	{"asset-fallback=on", "ask another version for files with a hash in their name that are not found"},
	{"loadbalancing=HOW", "among instances: round-robin, least-connection or hash; the less busy of two without it"},
	{"hash_header=NAME", "what hash looks at; the client's address without it"},
	{"hash_balance=1.5", "how much busier than the average an instance may be before hash takes the next; 0: any"},
	{"slow-start=30s", "how long until a new instance gets its full share; 10s without it, 0s: at once"},
	{"strip-prefix=on", "cut the route's path off what the app sees; it is sent as X-Forwarded-Prefix"},
	{"timeout=90s", "for the head of an answer, at most 15m; 60s without it, then 504"},
	{"idle-timeout=5m", "for a stream or WebSocket on which nothing moves, at most 24h"},
	{"websocket-drain=HOW", "when their instance leaves: stay, close-gently 60s, or cut; stay without it"},
	{"compress=gzip", "compress text for those who take it"},
	{"error-page=HTML", "the page for 5xx of the router's own, such as \"$(cat sorry.html)\"; {{status}}, {{message}} and {{request_id}} are filled in"},
	{"error-page-404=HTML", "the page for one status, 400 to 599"},
}

func drawRouteOptions(p *page) {
	p.line(p.paint(bold, "Options of a route (-o NAME=VALUE; -r NAME takes one away):"))
	columns(p, routeOptions)
}
