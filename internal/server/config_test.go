package server

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func env(kv map[string]string) func(string) string {
	return func(k string) string { return kv[k] }
}

func TestNewConfig_FlagGoesBeforeVariableBeforeDefault(t *testing.T) {
	c, err := NewConfig(map[string]string{"api": "127.0.0.1:1", "upload-limit": "512M"},
		env(map[string]string{"WEIR_API": "127.0.0.1:2", "WEIR_HTTP": "0.0.0.0:80", "WEIR_DATA": "/srv/weir", "WEIR_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		DataDir: "/srv/weir", BuildCache: "/srv/weir/build-cache", Domain: "apps.localhost", APIAddr: "127.0.0.1:1", HTTPAddr: "0.0.0.0:80",
		UID: 199999, StagingTimeout: 15 * time.Minute, DrainTimeout: 30 * time.Second, UploadLimit: 512 << 20, LogFormat: "text",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	if diff := cmp.Diff(want, c, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestNewConfig_AccessLog(t *testing.T) {
	c, err := NewConfig(map[string]string{"access-log": "/var/log/a.log", "redact-ips": "true"}, env(map[string]string{"WEIR_REDACT_QUERIES": "1"}))
	if err != nil || c.AccessLog != "/var/log/a.log" || !c.RedactIPs || !c.RedactQueries {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestNewConfig_NamesTheSettingThatIsWrong(t *testing.T) {
	for flag, values := range map[string][]string{
		"api": {"8181"}, "http": {"127.0.0.1:99999"}, "trusted-proxies": {"10.0.0.300"}, "log-format": {"xml"},
		"domain":          {"http://apps.example.com", "apps example.com", ".com"},
		"external-url":    {"api.example.com", "ftp://api.example.com", "https://"},
		"uid":             {"root", "0", "-5", "4294967295"}, // with 0 all would be root's
		"staging-timeout": {"-3s", "5"}, "drain-timeout": {"30"},
		"upload-limit": {"2 gigs", "-1G", "9999999999T"},
	} {
		for _, bad := range values {
			_, err := NewConfig(map[string]string{flag: bad}, env(nil))
			if err == nil || !strings.Contains(err.Error(), "--"+flag) || !strings.Contains(err.Error(), bad) {
				t.Errorf("--%s %q: %v", flag, bad, err)
				continue
			}
			for _, inside := range []string{"strconv", "time:", "parse "} {
				if strings.Contains(err.Error(), inside) {
					t.Errorf("--%s %q is answered with the library's words: %v", flag, bad, err)
				}
			}
		}
	}
	for flag, good := range map[string]string{"upload-limit": "1048576", "domain": "Lan", "external-url": "https://api.example.com/"} {
		if _, err := NewConfig(map[string]string{flag: good}, env(nil)); err != nil {
			t.Errorf("--%s %q: %v", flag, good, err)
		}
	}
}

func TestConfig_ReachesAChildWithoutThePassword(t *testing.T) {
	c, err := NewConfig(nil, env(map[string]string{"WEIR_ADMIN_PASSWORD": "s3cret", "HOME": "/home/x", "WEIR_TRUSTED_PROXIES": "10.0.0.0/8"}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.marshal(), "s3cret") {
		t.Error("the password is in the configuration of a child")
	}
	t.Setenv(configEnv, c.marshal())
	got, err := ConfigFromKeeper()
	if err != nil {
		t.Fatal(err)
	}
	c.AdminPassword = ""
	if diff := cmp.Diff(c, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestReachableByInstances_NamesTheDirectoryInTheWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only as root do apps run under other users")
	}
	private := t.TempDir() // below a directory of mode 0700
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	err := reachableByInstances(filepath.Join(private, "data"))
	if err == nil || !strings.Contains(err.Error(), filepath.Dir(private)) && !strings.Contains(err.Error(), private) {
		t.Errorf("got %v", err)
	}
}
