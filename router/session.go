package router

import (
	"bytes"
	"net/http"

	"weir/router/wire"
)

// The cookies of a sticky session: the app's own, and the one that names the
// instance.
const (
	sessionCookie  = "JSESSIONID"
	instanceCookie = "__VCAP_ID__"
)

// stickyInstance returns the instance a client's session is pinned to. The
// pin counts only together with a session.
func stickyInstance(req *wire.Request) (guid string) {
	session := false
	for i, fs := 0, req.Fields(); i < len(fs); i++ {
		if fs[i].Class != wire.Cookie {
			continue
		}
		for line := req.Value(&fs[i]); len(line) > 0; {
			var part []byte
			part, line, _ = bytes.Cut(line, []byte{';'})
			for len(part) > 0 && (part[0] == ' ' || part[0] == '\t') {
				part = part[1:]
			}
			switch {
			case len(part) > len(sessionCookie) && part[len(sessionCookie)] == '=' && string(part[:len(sessionCookie)]) == sessionCookie:
				session = true
			case guid == "" && len(part) > len(instanceCookie) && part[len(instanceCookie)] == '=' && string(part[:len(instanceCookie)]) == instanceCookie:
				guid = view(bytes.TrimRight(part[len(instanceCookie)+1:], " \t"))
			}
		}
	}
	if !session {
		return ""
	}
	return guid
}

// appendPin appends the cookie that names the instance if the app opened a
// session, or if the session is not where its cookie says.
func appendPin(b []byte, res *wire.Response, guid, was, proto string) []byte {
	var session *http.Cookie
	for i, fs := 0, res.Fields(); i < len(fs) && res.Cookies; i++ {
		if fs[i].Class != wire.SetCookie {
			continue
		}
		line := res.Value(&fs[i])
		name, _, _ := bytes.Cut(line, []byte{'='})
		switch string(bytes.TrimSpace(name)) {
		case instanceCookie:
			return b // the app does it by itself
		case sessionCookie:
			if c, err := http.ParseSetCookie(string(line)); err == nil {
				session = c
			}
		}
	}
	if session == nil && (was == "" || was == guid) {
		return b
	}
	c := &http.Cookie{Name: instanceCookie, Value: guid, Path: "/", HttpOnly: true, Secure: proto == "https"}
	if session != nil {
		c.MaxAge, c.Expires, c.SameSite = session.MaxAge, session.Expires, session.SameSite
		c.Secure = c.Secure || session.Secure
		c.Partitioned = session.Partitioned
		if session.Path != "" {
			c.Path = session.Path
		}
	}
	if v := c.String(); v != "" {
		b = appendLine(b, "Set-Cookie", v)
	}
	return b
}
