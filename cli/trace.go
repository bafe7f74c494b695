package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"weir/api/client"
)

// trace shows one request and its answer. Traces are sent to others who are to
// help: no token, password or value of a variable is in them.
func (u *ui) trace(e client.Exchange) {
	u.say(faint, fmt.Sprintf("> %s %s %s", e.Method, e.URL, brief(hideSecrets(e.Sent))))
	if e.Err != nil {
		u.say(faint, fmt.Sprintf("< %v", e.Err))
		return
	}
	received := hideSecrets(e.Received)
	if strings.Contains(e.URL, "/oauth/token") {
		received = hidden
	}
	u.say(faint, fmt.Sprintf("< %d %s %s", e.Status, http.StatusText(e.Status), brief(received)))
}

func brief(b []byte) string {
	const most = 2000
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return strings.TrimSpace(string(b))
}

// hidden stands for what is not shown.
var hidden = []byte("[hidden]")

// secretKeys are those below which every value is a secret, in JSON and in
// manifests.
var secretKeys = []string{
	"environment_variables", "var", "env", "staging_env_json", "running_env_json", "system_env_json", "credentials", "parameters",
	"password", "oldPassword", "access_token", "refresh_token", "basic-auth",
}

// hideSecrets replaces the values of secrets in a body of JSON or YAML. What is
// neither is hidden whole.
func hideSecrets(body []byte) []byte {
	if len(bytes.TrimSpace(body)) == 0 || !hasSecrets(body) {
		return body
	}
	if json.Valid(body) {
		var out bytes.Buffer
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if copyJSON(&out, d, false) == nil {
			return out.Bytes()
		}
		return hidden
	}
	var n yaml.Node
	if yaml.Unmarshal(body, &n) != nil || len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return hidden
	}
	hideYAML(&n, false)
	if b, err := yaml.Marshal(&n); err == nil {
		return b
	}
	return hidden
}

func hasSecrets(body []byte) bool {
	return slices.ContainsFunc(secretKeys, func(k string) bool { return bytes.Contains(body, []byte(k)) })
}

// copyJSON copies one value, its keys in the order they have.
func copyJSON(out *bytes.Buffer, d *json.Decoder, secret bool) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, nested := t.(json.Delim)
	if !nested {
		if _, empty := t.(string); t != nil && secret && (!empty || t != "") {
			t = string(hidden)
		}
		b, err := marshal(t)
		out.Write(bytes.TrimSpace(b))
		return err
	}
	out.WriteString(open.String())
	for n := 0; d.More(); n++ {
		if n > 0 {
			out.WriteByte(',')
		}
		below := secret
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			b, err := marshal(key)
			if err != nil {
				return err
			}
			out.Write(bytes.TrimSpace(b))
			out.WriteByte(':')
			name, _ := key.(string)
			below = secret || slices.Contains(secretKeys, name)
		}
		if err := copyJSON(out, d, below); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err == nil {
		fmt.Fprint(out, end)
	}
	return err
}

func hideYAML(n *yaml.Node, secret bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			hideYAML(n.Content[i+1], secret || slices.Contains(secretKeys, n.Content[i].Value))
		}
	case yaml.ScalarNode:
		if secret && n.Value != "" {
			n.SetString(string(hidden))
		}
	default:
		for _, c := range n.Content {
			hideYAML(c, secret)
		}
	}
}
