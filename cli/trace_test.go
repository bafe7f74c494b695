package cli

import "testing"

func TestHideSecrets_LeavesNoValue(t *testing.T) {
	for body, want := range map[string]string{
		``:                     ``,
		`{"name":"web","n":1}`: `{"name":"web","n":1}`,
		`{"var":{"KEY":"s3cret","N":17,"GONE":null,"EMPTY":""},"links":{"self":{"href":"http://x/?a&b"}}}`: `{"var":{"KEY":"[hidden]","N":"[hidden]","GONE":null,"EMPTY":""},"links":{"self":{"href":"http://x/?a&b"}}}`,
		`{"environment_variables":{"B":"s3cret","A":"s3cret"},"label":"v2"}`:                               `{"environment_variables":{"B":"[hidden]","A":"[hidden]"},"label":"v2"}`,
		`{"credentials":{"list":["s3cret",{"deep":"s3cret"}]},"name":"db"}`:                                `{"credentials":{"list":["[hidden]",{"deep":"[hidden]"}]},"name":"db"}`,
		`{"a":[{"oldPassword":"s3cret"}]}`:                                                                 `{"a":[{"oldPassword":"[hidden]"}]}`,
		"applications:\n- name: web\n  env:\n    KEY: s3cret\n    NUMBER: 17\n  instances: 2\n":            "applications:\n    - name: web\n      env:\n        KEY: '[hidden]'\n        NUMBER: '[hidden]'\n      instances: 2\n",
		"env: [s3cret":    "[hidden]",
		"password=s3cret": "[hidden]",
	} {
		if got := string(hideSecrets([]byte(body))); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}
